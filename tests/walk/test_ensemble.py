"""`segkd evaluate --fuse mean`: several finished networks are scored as one."""

import json

import pytest

from tests.conftest import TINY

SETTINGS = ["--data.embedded", '{"train": 8, "val": 5, "test": 3, "side": 64}', "--data.batch_size", 4,
            "--data.workers", 0, "--engine.epochs", 1, "--model.encoder", TINY, "--model.weights", "null",
            "--model.width", 8, "--evaluation.band_errors", "false"]  # fmt: skip


@pytest.fixture
def runs(run_cli, tmp_path):
    """Two runs of other seeds and sizes, and a pupil that both teach at the larger size."""
    for name, size, more in (
        ("a", 48, []),
        ("b", 32, ["--seed", 5]),
        ("pupil", 48, ["--config", "methods/tf_kd_self.yaml", "--distiller.teachers.before.sources",
                       f"[{tmp_path}/a, {tmp_path}/b]"]),
    ):  # fmt: skip
        status, out, err = run_cli("train", *SETTINGS, "--data.size", size, *more, "--out", tmp_path / name)
        assert status == 0, out + err
    return tmp_path


def evaluated(run_cli, out, *arguments):
    status, said, err = run_cli("evaluate", *arguments, "--split", "val", "--out", out)
    assert status == 0, said + err
    return json.loads(((out / "scores.json") if out.suffix != ".json" else out).read_text())


def test_an_ensemble_scores_as_the_teacher_that_it_is(run_cli, runs):
    pair = ["--run", runs / "a", "--run", runs / "b", "--fuse", "mean"]
    # the data of the last run: it is the members' sizes that count
    scores = evaluated(run_cli, runs / "out", *pair)
    (teacher,) = [line for line in map(json.loads, (runs / "pupil" / "metrics.jsonl").read_text().splitlines())
                  if line["kind"] == "teacher"]  # fmt: skip
    for name in ("miou_image", "f_mean", "mae", "iou_fg_dataset"):
        assert scores[name] == pytest.approx(teacher[name], abs=1e-6), name
    assert scores["size"] == [48, 48] and scores["fuse"] == "mean" and len(scores["members"]) == 2
    assert "<!doctype html>" in (runs / "out" / "report.html").read_text()
    one = evaluated(run_cli, runs / "one.json", "--run", runs / "a")
    assert scores["mae"] != one["mae"] and scores["fingerprint"] == one["fingerprint"]


def test_each_member_looks_as_it_would_alone(run_cli, runs):
    """Twice the same network is that network, whatever the looks."""
    for i, looks in enumerate((["--flip", "--scales", 0.75, 1], ["--slide"])):
        alone = evaluated(run_cli, runs / f"alone{i}.json", "--run", runs / "b", *looks)
        twice = evaluated(
            run_cli, runs / f"two{i}.json", "--run", runs / "b", "--run", runs / "b", "--fuse", "mean", *looks
        )
        assert twice["mae"] == pytest.approx(alone["mae"], abs=1e-6) and twice["fingerprint"] == alone["fingerprint"]


def test_what_is_no_ensemble_is_refused(run_cli, runs):
    a, b = runs / "a", runs / "b"
    for arguments, said in (
        (["--run", a, "--run", b], "2 networks are scored as one with --fuse mean"),
        (["--run", a, "--fuse", "mean"], "two or more networks as one"),
        (["--run", a, "--run", b, "--fuse", "mean", "--threshold", "val"], "Write a number"),
    ):
        status, _, err = run_cli("evaluate", *arguments, "--split", "val")
        assert status == 2 and said in err
    status, out, err = run_cli("train", *SETTINGS, "--data.size", 32, "--data.classes", "[x, y]", "--out", runs / "c")
    assert status == 0, out + err
    status, _, err = run_cli("evaluate", "--run", a, "--run", runs / "c", "--fuse", "mean", "--split", "val")
    assert status == 2 and "must know the same classes in the same order" in err
