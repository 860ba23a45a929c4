import json

import numpy as np
import pytest
from PIL import Image

from segkd.analysis.tables import span_of, table_notes
from segkd.types import InputError


def write(run, steps) -> None:
    run.mkdir()
    lines = [{"kind": "train", "step": 1, "loss": 1.0}]
    for step in steps:
        table = [[[-3.0 + 0.01 * step * (u - v) for v in range(8)] for u in range(8)]] * 3
        lines.append({"kind": "disturbance", "step": step, "psnr": 30.0, "bits": [1.0] * 8, "log2_steps": table})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("steps", [[5], list(range(10, 200, 10))])
def test_the_tables_of_a_run_become_one_picture(steps, run_cli, tmp_path):
    write(tmp_path / "run", steps)
    status, out, _ = run_cli("analyse", "tables", tmp_path / "run")
    assert status == 0 and f"{len(steps)} validation{'s' * (len(steps) > 1)} drawn" in out
    with Image.open(tmp_path / "run" / "tables.png") as picture:
        assert picture.size[0] > 300


def test_thousandths_of_a_decibel_are_drawn_flat():
    assert span_of(np.array([27.806, np.nan, 27.8])) == pytest.approx((27.303, 28.303))
    assert span_of(np.array([20.0, 30.0])) == pytest.approx((19.5, 30.5))
    assert span_of(np.array([np.nan])) is None


def test_a_run_without_tables_is_named(run_cli, tmp_path):
    write(tmp_path / "run", [])
    with pytest.raises(InputError, match="found none"):
        table_notes(tmp_path / "run")
    status, _, err = run_cli("analyse", "tables", tmp_path / "nowhere")
    assert status == 2 and "DctQuantization" in err and "Traceback" not in err
