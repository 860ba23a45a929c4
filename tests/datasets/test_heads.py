"""Files that are something else than their names say, and files of several pages: told in words, with what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.arrays import read_array
from segkd.datasets.lists import read_lines
from segkd.datasets.pictures import read_image, read_mask
from segkd.datasets.split_folders import Where, pair_all
from segkd.datasets.splits import find_splits
from segkd.types import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "a pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page.*Download it once more"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "a HEIC photo.*Convert it to JPEG"),
        (b"", "an empty file"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.npy"])
def test_what_lies_in_place_of_a_picture_or_an_array_is_told(tmp_path, content, words, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: .*{words}"):
        read_array(tmp_path / name, 1e6) if name == "a.npy" else read_mask(tmp_path / name)


def test_only_the_head_of_what_is_no_picture_is_read(tmp_path, monkeypatch):
    (tmp_path / "video.jpg").write_bytes(b"no picture" * 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read as a whole"))
    with pytest.raises(InputError, match="nothing that is known as a picture"):
        read_image(tmp_path / "video.jpg")


def stack(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Image.fromarray(np.full((8, 8), n, np.uint8)) for n in range(number)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def test_one_stack_of_slices_is_refused_with_how_to_part_it(tmp_path):
    stack(tmp_path / "images/vol.tif", 30)
    stack(tmp_path / "masks/vol.tif", 30)
    words = r"vol\.tif holds 30 pages, of which the first is read\. If they are slices.*ImageSequence"
    with pytest.raises(InputError, match=words):
        find_splits(Where(tmp_path, "images", "masks"))
    with pytest.raises(InputError, match=r"found a file\. It holds 30 pages\. If they are slices"):
        pair_all(Where(tmp_path, "images/vol.tif", "masks/vol.tif"))


def test_lists_in_json_are_refused_in_words(tmp_path):
    path = tmp_path / "train.json"
    for content, words in ((["a", "b"], "a list of 2 entries"), ({"training": [], "test": []}, "with training, test")):
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"data\.train: .*found JSON.* {words}.*Write the name of each image"):
            read_lines(path, "data.train")
    with pytest.raises(InputError, match=r"found a file\. Lists of names are for data\.train"):
        pair_all(Where(tmp_path, "train.json", "masks"))
