"""Score files of any model, compared."""

import itertools
import json
from pathlib import Path

import pytest

from segkd.ablation.runs import _seconds
from segkd.ablation.sources import gather
from segkd.types import InputError
from tests.ablation.test_comparison import ROWS, judged, row, said


def test_scores_of_any_model_are_compared(tmp_path):
    sources = [judged(tmp_path / "ours" / "scores.json"), judged(tmp_path / "theirs.json", 0.7)]
    rows, _ = gather(sources, None)
    assert [(r.arm, r.dataset, r.split, r.scores["f_max"]) for r in rows] == [
        ("ours", "ecssd", "", 0.5), ("theirs", "ecssd", "", 0.7),
    ]  # fmt: skip
    text = said(rows, tmp_path)
    assert text.startswith("1 data set (ecssd), 1 seed (0); baseline ours;") and "Split" not in text
    assert "+0.2000" in text and "budgets of the trainings unknown" in text and "left out" not in text


@pytest.mark.parametrize(("asked", "splits"), [(None, ["val", "val"]), ("train", ["val", "train"])])
def test_scores_of_a_folder_of_labels_stand_beside_those_of_a_split(tmp_path, asked, splits):
    sources = [judged(tmp_path / "a.json"), judged(tmp_path / "b.json")]
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content | {"split": "val"}))
    assert [row.split for row in gather(sources, asked)[0]] == splits


@pytest.mark.parametrize(
    ("splits", "taken"),
    [(["val", "test"], "val"), (["test", "val"], "test"), ([None, "val"], "val"), ([None, None], "test"), ([], "val")],
)
def test_runs_beside_evaluations_are_scored_on_the_split_of_the_first(tmp_path, monkeypatch, splits, taken):
    files = [judged(tmp_path / f"{number}.json") for number in range(len(splits))]
    for file, split in zip(map(Path, files), splits):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"split": split}))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    asked = []
    monkeypatch.setattr("segkd.ablation.sources.row_of", lambda _run, split, _trust: asked.append(split) or ROWS[0])
    gather([*files, str(tmp_path / "run")], None)
    assert asked == [taken]


def test_evaluations_of_the_same_images_are_compared_image_by_image(tmp_path):
    sources = [judged(tmp_path / name / "scores.json") for name in ("a", "b")]
    for name, shift in (("a", 0), ("b", 0.1)):
        values = [0.5 + n / 100 + shift * (1 + n / 10) for n in range(5)]
        lines = [f"i{n},{value:.4f}," for n, value in enumerate(values)]
        scores = json.loads((tmp_path / name / "scores.json").read_text()) | {"miou_image": sum(values) / 5}
        (tmp_path / name / "scores.json").write_text(json.dumps(scores))
        (tmp_path / name / "per_image.csv").write_text("id,miou_image,fault\n" + "\n".join(lines) + "\n")
    rows, _ = gather([str(tmp_path / name) for name in ("a", "b")], None)
    text = " ".join(said(rows, tmp_path, tmp_path / "out").split())
    assert "miou_image, b against a, image by image on ecssd: gain +0.1200 [+0.1004, +0.1396] over 5 images" in text
    assert "image by image" in (tmp_path / "out" / "table.md").read_text() and len(sources) == 2


def test_any_score_of_an_evaluation_is_compared_and_kept_for_the_next_comparison(tmp_path):
    sources = [judged(tmp_path / "ours" / "scores.json"), judged(tmp_path / "theirs.json", 0.7)]
    for source, more in zip(map(Path, sources), ({"hd95": 12.5, "s_measure": 0.6}, {"hd95": 10.0})):
        source.write_text(json.dumps(json.loads(source.read_text()) | more))
    text = said(gather(sources, None)[0], tmp_path, tmp_path / "out", scores=["hd95", "s_measure"])
    assert "+2.5000" in text and "12.5000 (n = 1)" in text, "less distance is a gain"
    again = said(gather([str(tmp_path / "out")], None)[0], tmp_path, scores=["hd95", "s_measure"])
    assert again == text.replace(f"tables and plots: {tmp_path / 'out'}\n", "")
    assert (tmp_path / "out" / "gain_hd95.png").stat().st_size > 5000
    plain = said(gather(sources, None)[0], tmp_path)
    assert "hd95" not in plain, "what nobody asked for is not shown"


def test_who_has_no_scores_on_the_split_is_named(tmp_path):
    text = said([*ROWS, row("late", 0, 0.9, "val")], tmp_path)
    assert "left out, without scores on test: late" in " ".join(text.split())


def test_the_time_of_a_run_that_was_killed_is_not_known():
    assert _seconds([{"seconds": 3}, {"seconds": 4.5}]) == 7.5
    assert _seconds([{"seconds": 3}, {"seconds": None}]) == _seconds([{}, {"seconds": 3}]) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"protocol": "pysod", "minmax": True}, "minmax: False against True; protocol: plain against pysod"),
     ({"threshold": "p >= 0.3"}, "threshold: p >= 0.5 against p >= 0.3"),
     ({"augmentation": "flip"}, "augmentation: none against flip")],
)  # fmt: skip
def test_scores_made_by_different_rules_are_refused(tmp_path, changes, words):
    sources = [judged(tmp_path / "a.json"), judged(tmp_path / "b.json", **changes)]
    with pytest.raises(InputError, match="scored by different rules") as caught:
        gather(sources, None)
    assert words in str(caught.value)


def test_data_sets_may_be_scored_by_rules_of_their_own(tmp_path):
    ways = (("duts", {}), ("camo", {"ignore": [255]}), ("camvid", {"threshold": "largest"}))
    sources = []
    for arm, (dataset, way) in itertools.product(("a", "b"), ways):
        sources.append(judged(tmp_path / arm / dataset / "scores.json", **way))
        content = json.loads(Path(sources[-1]).read_text()) | {"dataset": dataset}
        Path(sources[-1]).write_text(json.dumps(content))
    rows, notes = gather(sources, None)
    assert [(row.arm, row.dataset) for row in rows] == [(arm, name) for arm in "ab" for name, _ in ways] and not notes


def test_scores_of_one_name_in_two_folders_are_two_arms(tmp_path):
    sources = [judged(tmp_path / folder / "model.json") for folder in ("ours", "theirs")]
    assert [row.arm for row in gather(sources, None)[0]] == ["model", sources[1]]


def test_maps_that_came_to_be_otherwise_are_compared_and_it_is_said(tmp_path):
    ways = ({"scaled": "as logits"}, {"scaled": "as probabilities"}, {})  # the last one as older versions wrote it
    sources = [judged(tmp_path / f"{i}.json", **way) for i, way in enumerate(ways)]
    _, notes = gather(sources, None)
    assert len(notes) == 1 and f"{sources[0]} and {sources[1]} came to be otherwise" in notes[0]
    assert "scaled: as logits against as probabilities" in notes[0]


def test_a_json_that_is_no_scores_file_is_named(tmp_path):
    (tmp_path / "x.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"x.json: expected a scores.json of segkd evaluate"):
        gather([str(tmp_path / "x.json")], None)


def test_unequal_numbers_of_images_are_said(tmp_path):
    sources = [judged(tmp_path / "a" / "scores.json"), judged(tmp_path / "b" / "scores.json")]
    for count, source in zip((12, 8), sources):
        content = json.loads((tmp_path / source).read_text()) | {"n_images": count}
        (tmp_path / source).write_text(json.dumps(content))
    _, said_ = gather([str(tmp_path / "a"), str(tmp_path / "b")], None)
    assert len(said_) == 1 and "unequal numbers of images were scored of ecssd" in said_[0]


@pytest.mark.parametrize("change", [{"fingerprint": 3}, {"mae": "x"}, {"dataset": None}])
def test_odd_contents_of_a_scores_file_are_named(tmp_path, change):
    source = judged(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text()) | change
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a\.json: expected"):
        gather([source], None)
