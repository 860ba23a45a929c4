from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.prepare.kinds import kinds_between, kinds_within
from tests.datasets.test_prepare_public import patches, prepare, put  # noqa: F401


@pytest.mark.parametrize(
    ("images", "masks", "kinds"),
    [
        (["a", "b"], ["a_road", "b_road", "a_tree", "b_tree"], ["_road", "_tree"]),
        (
            ["a", "b", "c"],
            ["a_road", "b_road", "a_tree", "c_tree"],
            ["_road", "_tree"],
        ),  # not every class is everywhere
        (["t/a", "v/b"], ["t/a-road", "v/b-road", "t/a-tree", "v/b-tree"], ["-road", "-tree"]),
        (["a_1", "a_10"], ["a_1_road", "a_10_road", "a_1_tree", "a_10_tree"], ["_road", "_tree"]),
        (["a", "b"], ["a_road", "b_road"], []),  # one kind: a rule says it
        (["a", "b"], ["a_1", "b_1", "a_2", "b_2"], []),  # objects
        (["a", "b"], ["a_cat_1", "b_cat_1", "a_cat_2", "b_cat_2", "a_dog_1", "b_dog_1"], []),
        (["a", "b"], ["a_road", "b_road", "a_tree", "b_tree", "x_road", "y_tree"], []),  # of no image
        (["t/a", "v/b"], ["t/a_road", "a_road", "v/b_tree", "b_tree"], []),  # in another folder
        ([*"abcdef"], ["a_road", "b_road", "a_tree", "b_tree"], []),
    ],
)
def test_endings_behind_the_names_of_images_are_kinds(images, masks, kinds):
    assert kinds_between(images, masks) == kinds


def test_kinds_beside_their_images_need_an_extension_of_their_own():
    names = ["x/a", "x/b", "y/c"]
    masks = [PurePosixPath(f"{name}_{kind}.png") for name in names for kind in ("road", "tree")]
    images = [PurePosixPath(f"{name}.jpg") for name in names]
    assert list(kinds_within([*images, *masks])) == [("{}.jpg", "{}_road.png"), ("{}.jpg", "{}_tree.png")]
    assert not list(kinds_within([*(path.with_suffix(".png") for path in images), *masks]))


@pytest.mark.parametrize("places", [("images/{}.jpg", "masks/{}_{kind}.png"), ("{}.jpg", "{}_{kind}.png")])
@pytest.mark.parametrize("ending", ["", ".png"])
def test_a_file_for_each_class_is_told_with_the_words_for_a_class_of_each(put, prepare, tmp_path, places, ending):  # noqa: F811
    folder, kinds = places[1].split("{")[0], ("building", "road", "water")
    for n in range(5):
        put(places[0].replace("{}", f"img_{n}"))
        for i, kind in enumerate(kinds):
            put(places[1].replace("{}", f"img_{n}").replace("{kind}", kind), patches(n + i, [255]))
    _, said = prepare()
    words = [f"{folder}{{}}_{kind}{'' if folder else '.png'}" for kind in kinds]
    assert f"say {' '.join(f'--masks {chr(39)}{word}{chr(39)}' for word in words)} (later" in said
    (tmp_path / "layer.yaml").unlink()
    (tmp_path / "layer.prepared").rename(tmp_path / "before")
    masks = [part for kind in kinds for part in ("--masks", f"{folder}{{}}_{kind}{ending or '.png' * (not folder)}")]
    data, _ = prepare(*masks)
    assert data["classes"] == ["background", *kinds]
    found = np.asarray(Image.open(tmp_path / "layer.prepared" / "masks" / "img_3.png"))
    wanted = np.zeros_like(found)
    for i in range(3):
        wanted[patches(3 + i, [255]) > 0] = i + 1
    np.testing.assert_array_equal(found, wanted)


def test_of_masks_of_the_background_and_of_the_foreground_the_second_are_taken(put, prepare):  # noqa: F811
    for n in range(5):
        mask = patches(n, [255])
        put(f"images/{n}.jpg")
        put(f"masks/{n}_bg.png", 255 - mask)
        put(f"masks/{n}_fg.png", mask)
    data, said = prepare()
    assert data["masks"] == "masks/{}_fg" and "--masks" not in said.split("images and")[0].split("used for")[0]


@pytest.mark.parametrize("without", [(), (1,), (1, 2, 5)])
def test_images_without_objects_need_no_folder_of_masks(put, prepare, without):  # noqa: F811
    """The first mask of the image 0 is called like the image 0, and was taken for its only one."""
    for n in range(8):
        put(f"images/{n}.png")
        for k in range(0 if n in without else 1 + n % 3):
            put(f"masks/{n}/{k}.png", patches(n + 8 * k, [255]))
    data, said = prepare()
    assert "masks of objects for" in said and data["classes"] == ["background", "foreground"]
    assert f"for {8 - len(without)} images" in said


def test_folders_of_classes_that_are_called_like_images_are_none_of_objects(put, prepare):  # noqa: F811
    for n in range(1, 4):
        put(f"images/{n}.png")
        for name in (1, 2):
            put(f"masks/{name}/{n}.png", patches(n + 8 * name, [255]))
    _, said = prepare()
    assert "say --masks masks/1 --masks masks/2" in said
