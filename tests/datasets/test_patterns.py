import pytest

from segkd.datasets.patterns import Pattern, find_named
from segkd.types import InputError
from tests.conftest import touch


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        ("masks", "cat/a.png", "cat/a"),
        ("masks/{}", "a.v2.png", "a.v2"),
        ("masks/{}_mask", "a_mask.gif", "a"),
        ("masks/{}_mask.png", "cat/a_mask.PNG", "cat/a"),
        ("masks/{}_mask.png", "a.png", None),
        ("masks/{}_mask.png", "a_MASK.png", None),
        ("masks/**/{}_m.png", "x/y/a_m.png", "a"),
        ("masks/**/{}_m.png", "a_m.png", "a"),
        ("masks/*/{}.png", "x/a.png", "a"),
        ("masks/*/{}.png", "a.png", None),
        ("masks/{}.*.png", "a.b.jpg.png", "a.b"),
        ("{}/mask.png", "n0/mask.png", "n0"),
        ("{}/masks/{}.png", "n0/masks/n0.png", "n0"),
        ("{}/masks/{}.png", "n0/masks/n1.png", None),
        ("masks (1)/[a]{}.png", "[a]b.png", "b"),
    ],
)
def test_a_pattern_says_which_files_are_meant_and_their_name(text, path, name):
    found = Pattern.of(text).compiled().fullmatch(path)
    assert (found and found["name"]) == name


def test_folders_in_front_of_the_first_sign_are_the_base():
    assert Pattern.of("gtFine/**/{}_x.png") == Pattern("gtFine", "**/{}_x.png")
    assert Pattern.of("a/b") == Pattern("a/b", "{}") and Pattern.of("{}_m.png").base == ""
    assert Pattern.of("a/{}_m.png").letters > Pattern.of("a/{}.png").letters


def test_files_are_found_by_name_and_doubles_are_told(tmp_path):
    touch(tmp_path, "m/x/a_m.png", "m/y/b_m.png", "m/notes.heic", "m/z/b_m.png")
    named = find_named(tmp_path, "m/**/{}_m.png", "data.masks")
    assert named.files == {"a": tmp_path / "m/x/a_m.png"} and named.ending() == ".png"
    assert "y/b_m.png and z/b_m.png share one name; let {} hold the folders too" in named.doubles["b"]
    assert "notes.heic (no reader)" in named.sentence
    touch(tmp_path, "m/x/c_m.png.png")  # goes on behind what the pattern says
    assert set(find_named(tmp_path, "m/{}_m.png", "data.masks").files) == {"x/a", "y/b", "z/b"}
    apart = find_named(tmp_path, "m/*/{}_m.png", "data.masks", folders=True).files
    assert set(apart) == {"x/a", "y/b", "z/b"} and apart["z/b"] == tmp_path / "m/z/b_m.png"


def test_a_folder_whose_name_has_signs_is_a_folder(tmp_path):
    touch(tmp_path, "odd {} *.d/a.png")
    assert list(find_named(tmp_path, "odd {} *.d", "data.images").files) == ["a"]


def test_a_star_without_a_name_is_refused_with_the_pattern_to_write(tmp_path):
    touch(tmp_path, "images/a.jpg")
    with pytest.raises(InputError, match=r"data\.images: images/\*\.jpg: .*Write images/\{\}\.jpg"):
        find_named(tmp_path, "images/*.jpg", "data.images")
    with pytest.raises(InputError, match="expected a folder, found nothing there"):
        find_named(tmp_path, "nowhere/{}.jpg", "data.images")
