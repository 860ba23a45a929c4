import json

import pytest

from segkd.experiment.sources import refuse_other_sources, source_digests
from segkd.types import InputError


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
