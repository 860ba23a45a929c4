import json
import time

import pytest

from segkd.ablation.progress import last_step, remaining
from segkd.ablation.resolve import Cell


def cell(arm, steps=100):
    return Cell(arm, "data", 0, None, "", steps, steps, {})


def test_the_rest_is_counted_with_the_speed_of_each_arm():
    rates = {"slow": [2.0, 4.0], "quick": [1.0]}
    assert remaining([cell("slow"), cell("quick")], [], rates) == pytest.approx(300 + 100)
    assert remaining([cell("unknown")], [], rates) == pytest.approx(200)  # the mean of what is known
    assert remaining([cell("slow")], [], {}) is None


def test_what_an_active_cell_has_behind_it_does_not_count():
    rates = {"slow": [3.0]}
    assert remaining([], [(cell("slow"), time.time() - 100)], rates) == pytest.approx(200, abs=2)
    assert remaining([], [(cell("slow"), time.time() - 1000)], rates) == 0


def test_the_last_whole_line_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_step(path) == (0, "")
    lines = [json.dumps({"kind": "train", "step": i, "loss": i / 10, "filler": "x" * 500}) for i in range(40)]
    path.write_text("\n".join(lines) + "\n" + '{"kind": "train", "step": 40, "lo')
    assert last_step(path) == (39, "loss 3.9000")
    path.write_text("\n".join([*lines, json.dumps({"kind": "val", "step": 44, "miou_image": 0.5})]) + "\n")
    assert last_step(path) == (44, "")
