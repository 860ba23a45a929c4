"""Whatever lies where segkd looks for its own files is refused in one paragraph, and nothing is drawn by halves."""

import json

import pytest
from matplotlib.figure import Figure

from segkd.ablation import plots
from segkd.ablation.cell import State, read_state, write_state
from segkd.ablation.identity import differences
from segkd.ablation.progress import last_step
from segkd.ablation.sources import gather
from segkd.analysis import canvas
from segkd.analysis.learning import read_learning
from segkd.analysis.tables import table_notes
from segkd.types import InputError

DAMAGES = [b"", b"null", b"[]", b"5", b'"text"', b"{", b"[" * 20000, b"\xff\xfe", b'{"step": 1e999}', b'{"a": NaN}']
SCORES = {"fingerprint": {"protocol": "plain"}, "dataset": "d", "split": "val", "miou_image": 0.5, "n_images": 4}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_scores_is_named(damage, tmp_path):
    (tmp_path / "scores.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"scores\.json: expected a scores\.json"):
        gather([str(tmp_path / "scores.json")], None)


@pytest.mark.parametrize(
    ("key", "value"),
    [("miou_image", -5), ("miou_image", 1e20), ("mae", 52.07), ("miou_image", "0.5"), ("miou_image", [1]),
     ("fingerprint", []), ("dataset", 5), ("split", "all"), ("n_images", "4"), ("f_max", 10**30)],
)  # fmt: skip
def test_scores_of_other_kinds_or_beyond_their_range_are_named(key, value, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(SCORES))
    assert gather([str(path)], None)[0][0].scores["miou_image"] == 0.5
    path.write_text(json.dumps(SCORES | {key: value}))
    with pytest.raises(InputError, match=rf"a\.json.*{key}"):
        gather([str(path)], None)


@pytest.mark.parametrize("damage", [*DAMAGES, b'{"identity": {}, "splits": [], "status": "odd"}', b'{"identity": 5}'])
def test_a_damaged_state_of_a_cell_is_none(damage, tmp_path):
    write_state(tmp_path, State({"config": {}}, ["val"]))
    assert read_state(tmp_path) == State({"config": {}}, ["val"])
    (tmp_path / "cell.json").write_bytes(damage)
    assert read_state(tmp_path) is None


def test_identities_of_other_kinds_are_told_apart_all_the_same():
    now = {"config": {"seed": 0}, "data": {"val": {"pairs": 3, "digest": "a"}}, "code": {}}
    for then in ({}, {"config": {}, "data": {"val": 5}, "code": {"a": None}}):
        assert differences(then, now)


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if len(damage) < 100])
def test_the_last_step_is_that_of_the_last_good_line(damage, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 7, "loss": 0.5}\n' + damage + b"\n")
    assert last_step(tmp_path / "metrics.jsonl") == (7, "loss 0.5000")


@pytest.mark.parametrize("errors", ["null", "5", '"x"', "[1, null]", "[[1], [2]]", '[1, "x", 3]', "{}"])
def test_lines_of_a_record_with_other_numbers_are_named(errors, tmp_path):
    lines = ['{"kind": "spectrum", "step": 1, "epoch": 1.0, "errors": [1, 0.5, null]}']
    lines += [f'{{"kind": "spectrum", "step": 2, "epoch": 2.0, "errors": {errors}}}']
    (tmp_path / "metrics.jsonl").write_text(lines[0] + "\n")
    assert read_learning(tmp_path).errors.shape == (1, 3)
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    try:
        assert len(read_learning(tmp_path).errors) == 1  # the record itself refused the line
    except InputError as error:
        assert "metrics.jsonl" in str(error) and "step 2" in str(error)


def test_tables_of_other_shapes_are_named(tmp_path):
    lines = [{"step": i, "log2_steps": [[[0.0, 1.0]]], "bits": [1.0, 2.0]} for i in range(2)]
    for key, value in (("log2_steps", [[[0.0]]]), ("log2_steps", "x"), ("bits", None)):
        texts = [json.dumps(line) + "\n" for line in (lines[0], lines[1] | {key: value})]
        (tmp_path / "metrics.jsonl").write_text("".join(texts))
        try:
            assert len(table_notes(tmp_path)) == 1  # the record itself refused the line
        except InputError as error:
            assert f"metrics.jsonl: expected '{key}' of step 1" in str(error)


@pytest.mark.parametrize("save", [plots._save, canvas.save])
def test_a_figure_that_cannot_be_drawn_leaves_the_older_one(save, tmp_path, monkeypatch):
    save(Figure(figsize=(1, 1)), tmp_path, "a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["a.png", "a.svg"]

    def half(self, file, **_):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(InputError, match=r"a\.png: cannot write there: No space left"):
        save(Figure(figsize=(1, 1)), tmp_path, "a")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
