from segkd.datasets.prepare.legend import find_legend

CODES = {0x000000, 0x307020, 0xB07020}


def test_the_colours_of_masks_are_named_by_the_file_that_has_all_of_them(tmp_path):
    (tmp_path / "README.txt").write_text("colours are in label_colors.txt")
    (tmp_path / "few.csv").write_text("name,r,g,b\nsky,0,0,0\n")
    assert not find_legend(tmp_path, CODES).classes
    (tmp_path / "label_colors.txt").write_text("176 112 32\tdog\n48 112 32\tcat\n9 9 9\tfox\n0 0 0\tVoid\n")
    found = find_legend(tmp_path, CODES)
    assert found.classes == ["dog", "cat"]
    assert found.colours == {"cat": "#307020", "dog": "#b07020", "ignore": ["#000000"]}
    assert found.said == "label_colors.txt names them; Void is left out"
    assert " and 2 more, so it is not taken" in find_legend(tmp_path, {*CODES, 0x010101}).said
    (tmp_path / "label_colors.txt").write_text("176 112 32\tdog\n48 112 32\tcat\n0 0 0\tground\n")
    assert find_legend(tmp_path, CODES).classes == ["ground", "dog", "cat"]  # the darkest is the background
