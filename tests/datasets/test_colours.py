import numpy as np
import pytest

from segkd.datasets.colours import by_colour, count_colours, listed_colours, map_to_start_from, pack, parse_colours
from segkd.types import IGNORE, InputError

CLASSES = ["ground", "cat", "dog"]
NAMED = {"ground": [0, 0, 0], "cat": "#307020", "dog": "B07020"}
COLOURS = (((0, 0, 0), 0), ((48, 112, 32), 1), ((176, 112, 32), 2))


def test_colours_are_lists_or_hexadecimal_and_stand_for_the_classes_numbers(tmp_path):
    assert parse_colours(NAMED, CLASSES, tmp_path) == COLOURS
    assert dict(parse_colours(dict(reversed(NAMED.items())), CLASSES, tmp_path)) == dict(COLOURS)


def test_a_class_may_have_several_colours_and_ignore_is_no_class(tmp_path):
    named = {"no": ["#000000", "#010101"], "yes": [255, 255, 255], "ignore": "#e0e0c0"}
    assert dict(parse_colours(named, ["no", "yes"], tmp_path)) == {
        (0, 0, 0): 0,
        (1, 1, 1): 0,
        (255, 255, 255): 1,
        (224, 224, 192): IGNORE,
    }


def test_a_label_map_of_cvat_is_read_below_the_root(tmp_path):
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\n\nground:0,0,0::\ncat:48,112,32::\ndog:176, 112, 32:head,tail:run\n"
    )
    assert parse_colours("labelmap.txt", CLASSES, tmp_path) == COLOURS


@pytest.mark.parametrize("text", [
    "0 0 0\t\tground\n48 112 32\t\tcat\n176 112 32 dog\n",
    "name,r,g,b\nground,0,0,0\ncat,48, 112, 32\ndog,176,112,32\n",
])  # fmt: skip
def test_legends_of_other_origins_are_read_too(tmp_path, text):
    (tmp_path / "legend").write_text(text)
    assert parse_colours("legend", CLASSES, tmp_path) == COLOURS


@pytest.mark.parametrize("line", ["cat 1 2 3", "cat:1,2::", "cat:a,b,c::", "ground:1,2,3::"])
def test_a_label_map_with_another_line_is_refused_by_it(tmp_path, line):
    (tmp_path / "map.txt").write_text(f"ground:0,0,0::\n{line}\n")
    with pytest.raises(InputError, match=rf"map\.txt: expected lines `name:r,g,b::`.*{line[:6]}"):
        parse_colours("map.txt", CLASSES, tmp_path)


@pytest.mark.parametrize("colour", [[0, 0], [0, 0, 256], [-1, 0, 0], "#12345", "red", []])
def test_a_colour_that_is_none_is_refused(tmp_path, colour):
    with pytest.raises(InputError, match=r"data\.colours\.cat: expected \[r, g, b\] in 0\.\.255 or '#rrggbb'"):
        parse_colours(NAMED | {"cat": colour}, CLASSES, tmp_path)


def test_names_must_be_the_classes_and_colours_differ(tmp_path):
    with pytest.raises(InputError, match=r"write data\.classes: \[ground, cat, dog\]"):
        parse_colours(NAMED, ["background", "foreground"], tmp_path)
    with pytest.raises(InputError, match="give every class a colour"):
        parse_colours({"ground": [0, 0, 0], "cat": "#307020"}, CLASSES, tmp_path)
    with pytest.raises(InputError, match="every colour a class"):  # its pixels would be left out without a word
        parse_colours(NAMED | {"bird": [1, 2, 3]}, CLASSES, tmp_path)
    with pytest.raises(InputError, match=r"gives #307020 to two classes; one is dog"):
        parse_colours(NAMED | {"dog": [48, 112, 32]}, CLASSES, tmp_path)


def test_a_mask_is_read_by_its_colours(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 3, (5, 7))
    rgb = np.array([colour for colour, _ in COLOURS], np.uint8)[numbers]
    np.testing.assert_array_equal(by_colour(tmp_path, rgb, COLOURS), numbers)


def test_colours_that_are_not_named_are_listed_by_their_share_of_the_strange_ones(tmp_path):
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb[0, :3], rgb[0, 3] = (1, 2, 3), (255, 0, 255)
    with pytest.raises(InputError, match=r"a\.png: colours that .*#010203 \(75\.0 %\), #ff00ff \(25\.0 %\)"):
        by_colour(tmp_path / "a.png", rgb, COLOURS)


def test_packed_colours_keep_all_their_bits():
    rgb = np.array([[[255, 254, 253], [0, 0, 1]]], np.uint8)
    assert pack(rgb).tolist() == [[0xFFFEFD, 1]]
    assert count_colours(pack(np.repeat(rgb, 3, axis=0)), most=1) == {1: 3}


def test_a_list_of_colours_is_cut_and_counted():
    assert listed_colours(dict.fromkeys(range(5), 1), most=2) == "#000000 (20.0 %), #000001 (20.0 %) and 3 more"


def test_the_map_to_start_from_begins_with_the_darkest_and_can_be_read_back(tmp_path):
    counts = {0xFF0000: 50, 0x00FF00: 20, 0x000000: 30}
    assert map_to_start_from(counts, CLASSES) == "ground: '#000000', cat: '#ff0000', dog: '#00ff00'"
    numbers = {0x000000: 50, 0x020000: 30, 0x010000: 20}  # in the red channel, as CARLA writes them
    assert map_to_start_from(numbers, CLASSES) == "ground: '#000000', cat: '#010000', dog: '#020000'"
    assert map_to_start_from(counts, ["a", "b"]).startswith("background: '#000000', class1: '#ff0000', class2:")
