import json

import pytest

from segkd.experiment.sources import refuse_other_sources, source_digests
from segkd.types import InputError
from tests.conftest import TINY

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]


@pytest.fixture
def configured(tmp_path):
    """The text of a configuration that names a run, a file and what is neither."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "student.safetensors").write_bytes(b"weights")
    (tmp_path / "net.onnx").write_bytes(b"graph")
    sources = [str(tmp_path / "run"), str(tmp_path / "net.onnx"), str(tmp_path / "nothing")]
    tree = {"distiller": {"teachers": {"a": {"class_path": "Frozen", "init_args": {"sources": sources}}}},
            "init": str(tmp_path / "run"), "data": {"root": str(tmp_path)}}  # fmt: skip
    return json.dumps(tree)


def test_runs_and_files_of_weights_that_a_configuration_names_have_a_digest(configured, tmp_path):
    found = source_digests(configured)
    assert list(found) == [str(tmp_path / "net.onnx"), str(tmp_path / "run")]
    assert all(len(digest) == 64 for digest in found.values())


@pytest.mark.parametrize("text", ["a" * 300, f"{'a' * 300}.pt", f"a/{'b' * 256}/c.onnx", "a\0b.pt"])
def test_a_text_that_no_file_can_be_called_is_no_source(text):
    assert source_digests(json.dumps({"note": text})) == {}


def test_a_run_whose_teacher_changed_does_not_go_on(configured, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    refuse_other_sources(folder, source_digests(configured))  # nothing was noted by an older version
    (folder / "environment.json").write_text(json.dumps([{"sources": source_digests(configured)}, {"sources": {}}]))
    refuse_other_sources(folder, source_digests(configured))
    (tmp_path / "run" / "student.safetensors").write_bytes(b"others")
    with pytest.raises(InputError, match=r"run is not what this run has learned from so far.*Restore"):
        refuse_other_sources(folder, source_digests(configured))


def test_a_run_goes_on_with_a_teacher_that_lies_elsewhere_by_now_and_not_with_another(run_cli, tmp_path):
    def train(*arguments):
        status, out, err = run_cli("train", *arguments)
        return status, out + err

    small = ["--data.embedded", '{"train": 8, "val": 2, "test": 2, "side": 48}', "--data.size", "32",
             "--data.batch_size", "4", *TINY_MODEL, "--engine.epochs", "1"]  # fmt: skip
    for name, seed in (("teacher", "0"), ("other", "1")):
        more = ["--config", "methods/baseline.yaml", *small, "--seed", seed]
        assert train(*more, "--out", tmp_path / name)[0] == 0
    named = "--distiller.teachers.before.sources"
    taught = ["--config", "methods/self_training.yaml", *small, named, f"[{tmp_path / 'teacher'}]"]
    assert train(*taught, "--out", tmp_path / "run")[0] == 0
    (tmp_path / "teacher").rename(tmp_path / "moved")
    going = ["--resume", tmp_path / "run", "--engine.epochs", "2"]
    status, said = train(*going)
    assert status == 2 and "teacher: expected a run folder, found nothing there" in said
    status, said = train(*going, named, f"[{tmp_path / 'other'}]")
    assert status == 2 and "these settings differ: distiller.teachers.before.init_args.sources" in said
    status, said = train(*going, named, f"[{tmp_path / 'moved'}]")
    assert status == 0 and f"['{tmp_path / 'moved'}'] from here on" in said, said
    (tmp_path / "moved" / "student.safetensors").write_bytes((tmp_path / "other/student.safetensors").read_bytes())
    status, said = train("--resume", tmp_path / "run", "--engine.epochs", "3")
    assert status == 2 and "moved is not what this run has learned from so far" in said, said


def test_a_run_goes_on_with_data_that_lie_elsewhere_by_now_and_not_with_others(make_folder, run_cli, tmp_path):
    root, moved, run = make_folder(8), tmp_path / "moved", tmp_path / "run"

    def train(*arguments):
        status, out, err = run_cli("train", *arguments)
        return status, out + err

    small = ["--data.root", root, "--data.size", 32, "--data.workers", 0, "--evaluation.band_errors", "false"]
    assert train(*small, *TINY_MODEL, "--engine.epochs", 1, "--out", run)[0] == 0
    root.rename(moved)
    status, said = train("--resume", run, "--engine.epochs", 2)
    assert status == 2 and "Put the data there or set --data.root" in said
    status, said = train("--resume", run, "--engine.epochs", 2, "--data.root", moved)
    assert status == 0 and f"data.root: {root} until here, {moved} from here on" in said, said
    (moved / "masks" / "photo1.png").write_bytes((moved / "masks" / "photo2.png").read_bytes())
    status, said = train("--resume", run, "--engine.epochs", 3, "--data.root", moved)
    assert status == 2 and "1 with another mask (photo1)" in said, said
