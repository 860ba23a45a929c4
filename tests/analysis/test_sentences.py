"""Verdicts come from the numbers: turned round, they say the opposite."""

from dataclasses import replace

import numpy as np
import pytest

from segkd.analysis.evidence import Condition, Learning
from segkd.analysis.sentences import checked, compared, control, learned, relies, sentences, wrong
from segkd.analysis.summary import group

EPOCHS = np.linspace(0, 10, 41)


def learning(halves) -> Learning:
    """Errors that fall from 1 to 0 around the given epochs; NaN: never."""
    errors = np.ones((41, 8))
    for band, half in enumerate(halves):
        if not np.isnan(half):
            errors[:, band] = np.interp(EPOCHS, [0, 2 * half], [1, 0])
    return Learning(EPOCHS, errors)


def one_group(make_evidence, halves=None, stride_error=0.0, seeds=(0, 1, 2), **parts):
    """A group whose bands the decoder can all represent."""
    runs = []
    for seed in seeds:
        run = make_evidence(seed=seed, **parts)
        energy = {**run.energy, "ceiling": run.energy["label"] * stride_error**2}
        runs.append(replace(run, energy=energy, learning=learning(halves) if halves is not None else None))
    return group(runs)[0]


def drops(run, noise, stop=None):
    """The run with a score that loses so much in each band."""
    clean = np.full(len(run.ids), 0.9)
    found = {Condition("clean"): clean}
    for band in range(8):
        found[Condition("noise", band)] = clean - noise[band]
        found[Condition("stop", band)] = clean - (noise if stop is None else stop)[band]
        if band < 7:
            found[Condition("low", band)] = found[Condition("high", band + 1)] = clean
    return replace(run, scores={"miou_image": found})


def test_low_before_high_is_supported_and_high_before_low_is_not(make_evidence):
    rising, falling = np.arange(1, 9) / 2, np.arange(8, 0, -1) / 2
    first = learned(one_group(make_evidence, rising))
    assert first.verdict == "supported" and "= 1.00 [1.00, 1.00] over 8 bands (by seed: 1.00, 1.00, 1.00)" in first.text
    last = learned(one_group(make_evidence, falling))
    assert last.verdict == "not supported" and "= -1.00" in last.text
    runs = [make_evidence(seed=seed) for seed in range(3)]
    mixed = [replace(run, learning=learning(halves)) for run, halves in zip(runs, (rising, falling, rising))]
    mixed = [replace(run, energy={**run.energy, "ceiling": run.energy["label"] * 0}) for run in mixed]
    assert learned(group(mixed)[0]).verdict == "cannot be told"
    alone = learned(one_group(make_evidence, rising, seeds=(0, 1)))
    assert alone.verdict == "cannot be told" and "Fewer than 3 seeds are no result" in alone.text


def test_an_order_that_is_supported_but_tiny_says_its_size(make_evidence):
    halves = np.array([3.0, 2.5, 2.0, 4.0, 1.5, 3.5, 2.75, 2.25])
    small = learned(one_group(make_evidence, halves[::-1]))
    assert small.verdict == "supported" and "= 0.10 [0.10, 0.10] over 8 bands" in small.text


def test_an_order_needs_bands_records_and_validations(make_evidence):
    assert "Not every run recorded" in learned(one_group(make_evidence)).text
    few = learned(one_group(make_evidence, [1, 2, 3, *[np.nan] * 5]))
    assert few.verdict == "cannot be told" and "3 bands were learned" in few.text
    early = learned(one_group(make_evidence, np.linspace(0.01, 0.2, 8)))
    assert early.verdict == "cannot be told" and "within two validations" in early.text
    grey = learned(one_group(make_evidence, np.arange(1, 9) / 2, stride_error=0.8))
    assert "0 bands were learned" in grey.text


def test_errors_are_told_with_their_intervals(make_evidence):
    found = one_group(make_evidence)
    sentence = wrong(found)
    assert sentence.verdict == "measured" and f"{found.curves['error'].mean[0]:.2f} [" in sentence.text
    assert "beyond" not in sentence.text and "beyond" in wrong(group([make_evidence()])[0]).text


@pytest.mark.parametrize("low,verdict", [(True, "supported"), (False, "not supported")])
def test_reliance_is_asked_of_equal_noise(make_evidence, low, verdict):
    noise = np.array([0.4, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    noise = noise if low else noise[::-1]
    run = drops(make_evidence(), noise, stop=noise[::-1])
    first, second = relies(group([run])[0])
    assert first.verdict == verdict and f"by noise: {'0-.01562' if low else '.375-.5'}; by removal" in first.text
    assert f" {'more' if low else 'less'} in a band below" in first.text  # no sign that reads as the verdict's opposite
    assert second.verdict == "measured" and "opposite" in second.text
    same = relies(group([drops(make_evidence(), noise)])[0])
    assert len(same) == 1


def test_a_few_resamples_without_a_score_do_not_undo_the_others(make_evidence):
    """A resample may hold no image that has the score."""
    noise = np.array([0.4, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    found = group([drops(make_evidence(), noise)])[0]
    for name, curve in found.curves.items():
        draws = curve.draws.copy()
        draws[:5] = np.nan
        found.curves[name] = replace(curve, draws=draws)
    assert relies(found)[0].verdict == "supported"


def test_reliance_on_all_bands_alike_cannot_be_told(make_evidence):
    run = drops(make_evidence(), np.full(8, 0.2))
    assert relies(group([run])[0])[0].verdict == "cannot be told"
    nothing = relies(group([drops(make_evidence(), np.zeros(8))])[0])[0]
    assert nothing.verdict == "cannot be told" and "by noise: no band for sure" in nothing.text


def test_reliance_needs_images_and_seeds_that_agree(make_evidence):
    noise = np.array([0.4, 0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])
    assert relies(group([drops(make_evidence(n=6), noise)])[0])[0].verdict == "cannot be told"
    runs = [drops(make_evidence(seed=seed), part) for seed, part in enumerate((noise, noise, noise[::-1]))]
    assert relies(group(runs)[0])[0].verdict == "cannot be told"


def test_the_control_tells_what_the_architecture_does_alone(make_evidence):
    run = make_evidence()
    same = replace(run, untrained_sensitivity=run.sensitivity * 3)
    assert "may be the architecture's" in control(group([same])[0]).text
    turned = replace(run, untrained_sensitivity=run.sensitivity[:, ::-1].copy())
    assert "Spearman" in control(group([turned])[0]).text and "architecture" not in control(group([turned])[0]).text


def test_the_control_of_a_network_that_always_says_the_same_has_no_numbers(make_evidence):
    run = make_evidence()
    dead = replace(run, sensitivity=run.sensitivity * 0, margin=run.margin * 0)
    assert "does not follow the image" in control(group([dead])[0]).text
    assert not any("nan" in one.text for one in sentences(group([dead])))


def test_waves_bear_out_the_gradient_or_not(make_evidence):
    run = make_evidence(heatmap=True)
    right = replace(run.heatmap, gradient=run.heatmap.gain * 2)
    wrong_way = replace(run.heatmap, gradient=-run.heatmap.gain)
    assert " bear out" in checked(group([replace(run, heatmap=right)])[0]).text
    assert "do not bear out" in checked(group([replace(run, heatmap=wrong_way)])[0]).text


def test_what_labels_without_foreground_leave_undefined_is_said_in_words(make_evidence):
    run = make_evidence(heatmap=True)
    nothing = {**run.energy, "label": run.energy["label"] * 0, "ceiling": run.energy["label"] * 0}
    run = replace(run, energy=nothing, heatmap=replace(run.heatmap, drop=np.full(60, np.nan)))
    assert "(1: knows nothing of the band) of no band, as none is both" in wrong(group([run])[0]).text
    assert checked(group([run])[0]).text.endswith("undefined with the loss of IoU.")


def test_groups_are_compared_by_images_and_seeds(make_evidence):
    halves = np.arange(1, 9) / 2
    base = [replace(make_evidence("base", seed), learning=learning(halves)) for seed in range(3)]
    better = [
        replace(run, name="better", energy={**run.energy, "error": run.energy["error"] * 0.5},
                learning=learning(halves - np.array([0, 0.3, 0, 0, 0, 0, 0, 0])))
        for run in base
    ]  # fmt: skip
    one, other = group([*base, *better])
    earlier, wrong_less, relied = compared(other, one)
    assert earlier.verdict == "supported" and "earlier in .01562-.03125 (-0.3); the opposite in no band" in earlier.text
    assert wrong_less.verdict == "supported" and "0-.01562" in wrong_less.text
    assert relied.verdict == "cannot be told" and "in no band; the opposite in no band" in relied.text
    worse = compared(one, other)[1]
    assert worse.verdict == "not supported" and "less in no band; the opposite in 0-.01562 (+" in worse.text


def test_nothing_is_concluded_from_bands_beyond_the_decoder_or_of_both_signs(make_evidence):
    base = [make_evidence("base", seed) for seed in range(3)]

    def other(factors):
        return [replace(run, name="o", energy={**run.energy, "error": run.energy["error"] * factors}) for run in base]

    hidden = np.array([1, 1, 1, 1, 0.3, 0.3, 0.3, 0.3])  # the fixture's stride cannot draw these
    assert group(base)[0].representable.tolist() == [True] * 4 + [False] * 4
    two, one = group([*other(hidden), *base])
    assert compared(two, one)[1].verdict == "cannot be told"
    two, one = group([*other(np.array([0.3, 3, 1, 1, 1, 1, 1, 1])), *base])
    both = compared(two, one)[1]
    assert (
        both.verdict == "cannot be told"
        and "less in 0-.01562 (-" in both.text
        and "the opposite in .01562-.03125 (+" in both.text
    )


def test_two_seeds_are_no_result(make_evidence):
    runs = [make_evidence(name, seed) for name in ("a", "b") for seed in range(2)]
    one, other = group(runs)
    assert {sentence.verdict for sentence in compared(other, one)} == {"cannot be told"}


def test_all_sentences_of_a_full_and_a_bare_run(make_evidence):
    full = [make_evidence("a", tables=True, heatmap=True), make_evidence("b", heatmap=True)]
    found = sentences(group(full))
    assert len(found) >= 2 * 5 + 3 and any("single waves" in sentence.text for sentence in found)
    bare = sentences(group([make_evidence(learning=False, aliasing=False, classes=4)]))
    assert all(sentence.text.endswith(".") and "nan" not in sentence.text for sentence in [*found, *bare])
