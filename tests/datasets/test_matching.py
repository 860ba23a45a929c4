import pytest

from segkd.datasets.matching import files_by_stem, labels_in, match_maps
from segkd.types import InputError


def test_missing_and_surplus_files_are_listed_not_refused(tmp_path):
    (tmp_path / "maps" / "d.png").mkdir(parents=True)
    for name in ("maps/a.png", "maps/c.npy", "b.png"):
        (tmp_path / name).write_bytes(b"")
    labels = {stem: tmp_path / f"{stem}.png" for stem in "abd"}
    found = match_maps(tmp_path / "maps", labels)
    assert [pair.id for pair in found.pairs] == ["a"]
    assert found.missing == ["b: no prediction"] and found.surplus == ["c.npy: no label"]
    assert "expected a file, found a folder" in found.unreadable["d"]


def test_folders_that_cannot_serve_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    for folder, said in (("gone", "nothing there"), ("file", "a file there"), ("none", "found none")):
        with pytest.raises(InputError, match=said):
            files_by_stem(tmp_path / folder, "predictions", {".png"})
    (tmp_path / "none" / "x.png").write_text("")
    with pytest.raises(InputError, match="named like the labels"):
        match_maps(tmp_path / "none", {"y": tmp_path})


def test_a_list_chooses_labels_by_stem_or_file_name(tmp_path):
    for stem in "abc":
        (tmp_path / f"{stem}.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("# test\na\nc.png\n")
    assert list(labels_in(tmp_path, tmp_path / "list.txt").files) == ["a", "c"]
    (tmp_path / "list.txt").write_text("a\nz\n")
    with pytest.raises(InputError, match="1 of 2"):
        labels_in(tmp_path, tmp_path / "list.txt")
