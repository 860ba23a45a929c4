import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from segkd import disk
from segkd.ablation.escaping import escape_markdown
from segkd.disk import read_json
from segkd.experiment.scoring import describe
from segkd.metrics.counts import count_binary
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, fingerprint
from segkd.report.judging import Exhibit, Judged
from segkd.report.outputs import markdown, write_outputs
from segkd.report.page import page
from segkd.types import InputError

ODD = os.fsdecode(b"caf\xe9\x1b[31m") + "ä [/b] | x"
SHOWN = r"caf\xe9\x1b[31mä [/b] | x"


@pytest.fixture
def judged():
    label = np.zeros((24, 20), np.uint8)
    label[4:14, 5:15] = 1
    meter = Meter(["background", "foreground"])
    meter.add(ODD, count_binary(label.astype(np.float32), label, 0.5))
    about = {"predictions": ODD, "skipped": [ODD], "fingerprint": fingerprint(PLAIN, 0.5)}
    return Judged(
        ODD,
        f"{ODD} on data",
        meter,
        describe(meter, about),
        lambda id: Exhibit(None, label, label.astype(np.float32)),
        {ODD: ODD},
    )


def test_names_that_are_no_text_stand_in_every_file_as_escapes(judged, tmp_path):
    write_outputs(tmp_path, [judged])
    assert json.loads((tmp_path / "scores.json").read_text())["predictions"] == SHOWN
    assert read_json(tmp_path / "scores.json", dict, "scores")["skipped"] == [SHOWN]
    rows = list(csv.reader((tmp_path / "per_image.csv").read_text(encoding="utf-8").splitlines()))
    assert rows[1][0] == rows[2][0] == rows[2][-1] == SHOWN and len(rows) == 3
    assert escape_markdown(SHOWN) in (tmp_path / "scores.md").read_text(encoding="utf-8")
    assert r"caf\textbackslash{}xe9" in (tmp_path / "scores.tex").read_text(encoding="utf-8")
    text = page(judged, ["segkd", "evaluate", ODD])
    assert text.encode("utf-8").count(SHOWN.encode()) >= 5 and "\x1b" not in text


def test_a_name_is_no_markup_in_the_table_of_markdown(judged):
    text = markdown([replace(judged, name="<b>_x_</b> *y*", result=judged.result)])
    assert r"| \<b\>\_x\_\</b\> \*y\* | 1 |" in text and "threshold p \\>= 0.5" in text


def test_a_full_disk_leaves_the_older_files(judged, tmp_path, monkeypatch):
    write_outputs(tmp_path, [judged])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_outputs(tmp_path, [judged])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
