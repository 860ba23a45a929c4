"""The mechanism: a table learns with a network, on images whose object is told by a band that is known."""

import pytest

from docs.draw_frequency import BAND, frequency, learned_table


def mean_steps(objective: str) -> dict[str, float]:
    """Mean log2(step) of luma within the band, below it, above it, and of chroma, which tells nothing."""
    (table,) = learned_table(objective, steps=120)
    f = frequency()
    within = (f >= BAND[0]) & (f <= BAND[1])
    return {
        "band": float(table[0][within].mean()),
        "below": float(table[0][f < BAND[0]].mean()),
        "above": float(table[0][f > BAND[1]].mean()),
        "chroma": float(table[1:].mean()),
        "all": float(table.mean()),
    }


def test_the_cooperative_table_keeps_the_object_s_band_and_coarsens_others():
    found = mean_steps("cooperative")
    assert found["band"] < found["all"] - 1  # twice as fine as the budget's mean
    assert found["band"] < min(found["below"], found["above"] - 0.5, found["chroma"] - 2)
    assert found["chroma"] > found["all"] + 0.5
    assert found["all"] == pytest.approx(-2.3219, abs=1e-4)  # log2(.2): the budget


def test_the_adversarial_table_attacks_the_object_s_band():
    found = mean_steps("adversarial")
    assert found["band"] > max(found["below"], found["above"] + 1, found["chroma"] + 1)
