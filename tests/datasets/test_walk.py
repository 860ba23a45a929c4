import os
import socket

import pytest
from PIL import Image, features

from segkd.datasets.walk import ARRAYS, is_hidden, pictures, say_passed, stem_of, walk
from segkd.types import InputError
from tests.conftest import touch


def names(found):
    return [path.relative_to(found.folder).as_posix() for path in found.files]


def why(found):
    return {one.name: one.why for one in found.passed}


def test_whatever_pillow_reads_is_found_in_order_and_the_rest_is_counted(tmp_path):
    touch(tmp_path, "b.JPG", "a.jfif", "sub/c.jpe", "sub/d.tga", "notes.txt", "g.heic", "h.heic", "h", "x.eps", "y.h5")
    found = walk(tmp_path)
    assert names(found) == ["a.jfif", "b.JPG", "sub/c.jpe", "sub/d.tga"]
    assert why(found) == {
        "g.heic": "no reader", "h.heic": "no reader", "h": "no extension", "x.eps": "no reader", "y.h5": "no reader",
        "notes.txt": "companion",
    }  # fmt: skip
    assert found.sentence == (
        "passed over 5 files: 2 .heic (no reader: g.heic, h.heic), h (no extension), x.eps (no reader), "
        "y.h5 (no reader)"
    )
    assert walk(touch(tmp_path / "quiet", "a.png", "a.json", ".DS_Store")).sentence == ""


def test_every_extension_that_is_taken_has_a_decoder():
    assert {".jpg", ".jfif", ".jpe", ".png", ".tga", ".tif", ".gif", ".bmp"} <= pictures()
    assert (".avif" in pictures()) == bool(features.check("avif"))
    assert not pictures() & {".eps", ".ps", ".mpg", ".h5", ".wmf", ".npy", ".pdf"}
    assert all(Image.registered_extensions()[extension] in Image.OPEN for extension in pictures())


def test_arrays_are_taken_where_they_are_wanted(tmp_path):
    touch(tmp_path, "a.png", "a.npy", "b.npz")
    assert names(walk(tmp_path)) == ["a.png"]
    assert names(walk(tmp_path, pictures() | ARRAYS)) == ["a.npy", "a.png", "b.npz"]


def test_hidden_files_and_folders_are_left_alone(tmp_path):
    touch(tmp_path, "a.png", ".b.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/a.png", "Thumbs.db")
    found = walk(tmp_path)
    assert names(found) == ["a.png"]
    assert found.sentence.startswith("passed over 2 files: 2 files (hidden folder: .ipynb_checkpoints, __MACOSX")
    assert is_hidden("Desktop.ini") and not is_hidden("desktop.png")


def test_what_prepare_made_is_passed_over_unless_it_is_named(tmp_path):
    touch(
        tmp_path,
        "a.png",
        "data.prepared/sheet.png",
        "data.prepared/masks/a.png",
        "sub/x.prepared/b.png",
        "prepared/c.png",
    )
    found = walk(tmp_path)
    assert names(found) == ["a.png", "prepared/c.png"] and why(found)["data.prepared"] == "made by segkd prepare"
    assert names(walk(tmp_path / "data.prepared")) == ["masks/a.png", "sheet.png"]
    assert names(walk(tmp_path / "data.prepared" / "masks")) == ["a.png"]


def test_links_to_files_and_folders_are_followed_but_never_in_a_circle(tmp_path):
    touch(tmp_path / "store", "A/1.png", "A/2.png", "one.png")
    images = touch(tmp_path / "images", "0.png")
    (images / "A").symlink_to(tmp_path / "store" / "A")
    (images / "same").symlink_to(tmp_path / "store" / "A", target_is_directory=True)
    (images / "one.png").symlink_to(tmp_path / "store" / "one.png")
    (images / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (images / "self.png").symlink_to(images / "self.png")
    (images / "up").symlink_to(tmp_path)
    (tmp_path / "store" / "A" / "back").symlink_to(tmp_path / "store")
    found = walk(images)
    expected = ["0.png", "A/1.png", "A/2.png", "A/back/one.png", "one.png"]
    expected += ["same/1.png", "same/2.png", "same/back/one.png"]
    assert [name for name in names(found) if not name.startswith("up/")] == expected
    assert why(found)["gone.png"] == why(found)["self.png"] == "a broken link"
    assert why(found)["A/back/A"] == why(found)["up/images"] == "a link back to a folder it lies in"
    linked = tmp_path / "linked"
    linked.symlink_to(images)
    assert "A/1.png" in names(walk(linked))


def test_a_maze_of_links_is_refused(tmp_path):
    for i in range(12):  # 2^12 ways through
        (tmp_path / f"d{i}").mkdir()
        for name in "ab":
            (tmp_path / f"d{i}" / name).symlink_to(tmp_path / f"d{i + 1}")
    touch(tmp_path, "d12/a.png")
    with pytest.raises(InputError, match="links lead into the same folders more than 1000 times"):
        walk(tmp_path / "d0")


def test_what_is_no_regular_file_is_never_opened(tmp_path, monkeypatch):
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
        found = walk(tmp_path)
    assert names(found) == ["a.png"] and set(why(found).values()) == {"no regular file"} and len(found.passed) == 4


def test_names_that_are_not_utf8_and_very_deep_folders_are_walked(tmp_path):
    odd = os.fsdecode(b"caf\xe9.png")
    touch(tmp_path, odd)
    deep = tmp_path
    for _ in range(40):
        deep = deep / "d"
    touch(deep, "x.png")
    found = walk(tmp_path)
    assert odd in names(found) and found.files[-1].name == "x.png" and len(found.files) == 2


def test_one_file_is_a_walk_and_nothing_is_refused(tmp_path):
    touch(tmp_path, "a.png", "h")
    assert walk(tmp_path / "a.png").files == [tmp_path / "a.png"] and walk(tmp_path / "h").folder == tmp_path
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("gone", "nothing"), ("pipe", "no regular file")):
        with pytest.raises(InputError, match=f"{name}: expected a folder, found {said} there"):
            walk(tmp_path / name)


def test_a_glance_enters_few_folders(tmp_path):
    touch(tmp_path, *(f"{folder}/{i}.png" for folder in "abcdef" for i in range(10)))
    assert len(walk(tmp_path).files) == 60 and len(walk(tmp_path, most=25).files) == 20


def test_a_stem_keeps_folders_and_dots(tmp_path):
    assert stem_of(tmp_path / "cat" / "a.v2.jpg", tmp_path) == "cat/a.v2"
    assert say_passed([]) == ""
