import json

import numpy as np
import pytest

from segkd.analysis.evidence import Learning
from segkd.analysis.learning import half_epochs, read_learning
from segkd.types import InputError


def half(learned):
    """The interpolated epochs alone."""
    return half_epochs(learned)[0]


def test_the_validation_that_saw_it_is_told_apart_from_the_line_between_two():
    between, seen = half_epochs(learning([0, 4, 8], [1, 0.2, 0.2], [1, 0.9, 0.6]))
    np.testing.assert_allclose(between, [2, 16 / 3])
    np.testing.assert_allclose(seen, [4, 8])


def learning(epochs, *bands) -> Learning:
    return Learning(np.array(epochs, float), np.array(bands, float).T)


def test_half_of_what_was_learned_is_interpolated_between_validations():
    """1 -> .2 at epoch 4: .8 is learned, half of it is left at an error of .6, at epoch 2 of a straight line."""
    found = half(learning([0, 4, 8], [1, 0.2, 0.2], [1, 0.9, 0.6]))
    # the second learns .4 in all; .2 of it lies between .1 at epoch 4 and .4 at epoch 8, a third of the way
    np.testing.assert_allclose(found, [2, 4 + 4 / 3])


def test_half_is_half_of_the_most_that_was_known_even_if_it_was_lost_again():
    np.testing.assert_allclose(half(learning([0, 2, 4], [1, 0.2, 0.9])), [1])


def test_a_band_that_was_not_learned_has_no_half():
    found = half(learning([0, 1, 2], [1, 0.99, 0.96], [1, 1.2, 1.4], [np.nan] * 3, [1, 0.97, 0.94]))
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3], 1)  # .06 is learned, .03 of it at epoch 1


def test_without_a_line_at_step_0_nothing_was_known_before():
    recorded = half(learning([2, 4], [0.5, 0.2], [0.9, 0.5]))
    np.testing.assert_allclose(recorded, half(learning([0, 2, 4], [1, 0.5, 0.2], [1, 0.9, 0.5])))
    np.testing.assert_allclose(recorded, [1.6, 2.75])


def test_a_network_that_knows_at_step_0_knew_at_epoch_0():
    np.testing.assert_allclose(half(learning([0, 2], [0.3, 0.2])), [0])


def test_one_validation_is_enough():
    np.testing.assert_allclose(half(learning([5], [0.5])), [2.5])


def lines(*content):
    return "".join(json.dumps(line) + "\n" for line in content)


def test_reads_errors_and_the_tables_of_the_same_steps(tmp_path):
    assert read_learning(tmp_path) is None
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"kind": "train", "step": 1, "epoch": 0.1, "loss": 1.0}))
    assert read_learning(tmp_path) is None
    path.write_text(
        lines(
            {"kind": "spectrum", "step": 0, "epoch": 0, "errors": [1.1, None]},
            {"kind": "train", "step": 5, "epoch": 0.5, "loss": 1.0},
            {"kind": "table", "step": 10, "log2_steps": [[[0.0]]], "log2_step_rings": [-4.0, -5.0]},
            {"kind": "spectrum", "step": 10, "epoch": 1, "errors": [0.5, None]},
            {"kind": "table", "step": 15, "log2_step_rings": [0.0, 0.0]},
        )
        + '{"kind": "spectrum", "step": 20, "ep'  # a kill cut it short
    )
    found = read_learning(tmp_path)
    np.testing.assert_array_equal(found.epochs, [0, 1])
    np.testing.assert_array_equal(found.errors, [[1.1, np.nan], [0.5, np.nan]])
    np.testing.assert_array_equal(found.tables, [[-4, -5]])  # that of step 15 has no validation
    np.testing.assert_array_equal(found.table_epochs, [1])
    np.testing.assert_allclose(half(found)[0], (1.1 - 0.75) / 0.6)


@pytest.mark.parametrize(
    ("key", "bad"),
    [("errors", [0.5]), ("epoch", 10**400), ("log2_step_rings", [1.0]), ("log2_step_rings", ["a", "b"]),
     ("log2_step_rings", [[1.0, 2.0]])],
)  # fmt: skip
def test_a_line_whose_numbers_are_others_than_its_like_is_named(tmp_path, key, bad):
    good = {"kind": "spectrum", "step": 0, "epoch": 0, "errors": [1.0, 1.0], "log2_step_rings": [1.0, 2.0]}
    (tmp_path / "metrics.jsonl").write_text(lines(good, {**good, "step": 7, "epoch": 1, key: bad}))
    with pytest.raises(InputError, match=rf"metrics\.jsonl: expected '{key}' of step 7"):
        read_learning(tmp_path)


@pytest.mark.parametrize("bad", [{"errors": 0.5}, {"errors": None}, {"errors": ["a", "b"]}, {"epoch": "late"}])
def test_a_damaged_line_costs_itself_alone(tmp_path, bad):
    good = {"kind": "spectrum", "step": 0, "epoch": 0, "errors": [1.0, 1.0]}
    (tmp_path / "metrics.jsonl").write_text(lines(good, {**good, "step": 7, "epoch": 1, **bad}, {**good, "step": 9}))
    assert len(read_learning(tmp_path).epochs) == 2


@pytest.mark.parametrize("tables", [0, 1])
def test_a_run_without_a_table_has_none(tmp_path, tables):
    table = [{"kind": "table", "step": 3, "log2_step_rings": [1.0]}] * tables
    (tmp_path / "metrics.jsonl").write_text(lines({"kind": "spectrum", "step": 3, "epoch": 1, "errors": [0.5]}, *table))
    found = read_learning(tmp_path)
    assert (found.tables is not None) == (found.table_epochs is not None) == bool(tables)
