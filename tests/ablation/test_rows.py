import math
from dataclasses import replace

import pytest

from segkd.ablation.rows import COLUMNS, SCORES, Row, read_rows, write_rows
from segkd.metrics.meter import LOWER_IS_BETTER
from segkd.types import InputError

ROW = Row(
    arm='ema, "slow" | x', dataset="ecssd", seed=3, split="test",
    scores={name: 0.1 + i / 7 for i, name in enumerate(SCORES)},
    steps=2000, images=32000, seconds=81.5, commit="a1b2c3+",
)  # fmt: skip


def edited(path, old, new):
    """The file with one text for another, which must have been there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.fixture
def file(tmp_path):
    write_rows(tmp_path / "rows.csv", [ROW])
    return tmp_path / "rows.csv"


def test_rows_come_back_as_they_were_to_the_last_bit(tmp_path):
    other = Row("ä_b", "duts", 0, "val", {name: 1 / 3 for name in SCORES}, 1, 8, 0.5, "")
    write_rows(tmp_path / "rows.csv", iter([ROW, other]))
    assert read_rows(tmp_path / "rows.csv") == [ROW, other]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_every_score_that_a_row_has_is_a_column_and_older_files_do_without(tmp_path, file):
    more = replace(ROW, scores={**ROW.scores, "hd95": 41.5, "s_measure": 0.8, "class_accuracy": math.nan}, seed=4)
    write_rows(tmp_path / "more.csv", [ROW, more])
    header = (tmp_path / "more.csv").read_text().splitlines()[0].split(",")
    assert header == ["arm", "dataset", "seed", "split", *SCORES, "s_measure", "hd95", *COLUMNS[-4:]]
    plain, back = read_rows(tmp_path / "more.csv")
    del more.scores["class_accuracy"]
    assert [plain, back] == [ROW, more] and read_rows(file) == [ROW]


@pytest.mark.parametrize(("value", "words"), [("-1", "pixels, 0 or more"), ("inf", "pixels, 0 or more")])
def test_a_length_is_no_share(tmp_path, value, words):
    path = tmp_path / "rows.csv"
    write_rows(path, [replace(ROW, scores={**ROW.scores, "hd95": 41.5})])
    assert read_rows(path)[0].scores["hd95"] == 41.5
    with pytest.raises(InputError, match=f"line 2: hd95: expected {words}, found {value}"):
        read_rows(edited(path, "41.5", value))


def test_an_undefined_score_is_an_empty_cell_and_comes_back_as_nan(tmp_path):
    scores = {**ROW.scores, "f_mean": math.nan}
    write_rows(tmp_path / "rows.csv", [Row("a", "camvid", 0, "test", scores, 1, 8, 1.0, "")])
    header, line = (tmp_path / "rows.csv").read_text().splitlines()
    assert line.split(",")[header.split(",").index("f_mean")] == ""
    (back,) = read_rows(tmp_path / "rows.csv")
    assert math.isnan(back.scores.pop("f_mean"))
    assert back.scores == {name: value for name, value in scores.items() if name != "f_mean"}


def test_no_rows_are_a_header(tmp_path):
    write_rows(tmp_path / "rows.csv", [])
    assert (tmp_path / "rows.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert read_rows(tmp_path / "rows.csv") == []


def test_a_failed_write_leaves_the_old_file(file):
    before = file.read_bytes()

    def broken():
        yield ROW
        raise KeyError("no more")

    with pytest.raises(KeyError):
        write_rows(file, broken())
    assert file.read_bytes() == before


@pytest.mark.parametrize("column", ["arm", "mae", "commit"])
def test_a_missing_column_is_named(file, column):
    with pytest.raises(InputError, match=rf"rows\.csv: expected the columns arm,.*missing: {column}\."):
        read_rows(edited(file, column, "elsewhere"))


def test_columns_in_another_order_and_further_ones_do_no_harm(file):
    header, line = file.read_text().splitlines()
    file.write_text(f"{header},note\n{line},read twice\n")
    assert read_rows(file) == [ROW]


@pytest.mark.parametrize(
    "old, new", [("ecssd,3,", "ecssd,three,"), ("2000", "2e3"), ("81.5", "long"), (repr(ROW.scores["mae"]), "0.9 %")]
)
def test_what_is_no_number_names_file_and_line(file, old, new):
    rows = [ROW] * 3
    write_rows(file, rows)
    lines = file.read_text().splitlines(keepends=True)
    assert old in lines[2]
    file.write_text("".join([*lines[:2], lines[2].replace(old, new), *lines[3:]]))
    with pytest.raises(InputError, match=r"rows\.csv, line 3: expected numbers"):
        read_rows(file)


def test_a_file_that_is_none_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv"):
        read_rows(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"binary\.csv"):
        read_rows(tmp_path / "binary.csv")


def test_the_unit_pairs_rows_of_different_arms():
    assert ROW.unit == ("ecssd", 3)
    assert set(SCORES) & LOWER_IS_BETTER == {"mae"}


def test_a_decimal_comma_is_refused(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text(",".join(COLUMNS) + "\na,data,0,val,0,95,.9,.9,.9,.9,.9,.9,10,40,1.0,abc\n")
    with pytest.raises(InputError, match="line 2: expected as many cells as columns"):
        read_rows(path)


@pytest.mark.parametrize(
    ("value", "hint"), [("-5", ""), ("2", "per cent"), ("52.07", "per cent"), ("1e20", ""), ("1e999", "")]
)
def test_a_score_beyond_its_range_is_refused_by_line_and_name(value, hint, file):
    with pytest.raises(InputError, match=rf"rows\.csv, line 2: f_mean: expected a share, 0\.\.1, found .*{hint}"):
        read_rows(edited(file, repr(ROW.scores["f_mean"]), value))


def test_alignment_above_1_is_a_score_of_pysod(tmp_path):
    """It divides by one pixel fewer (docs/metrics.md); per cent are refused all the same."""
    write_rows(tmp_path / "cells.csv", [replace(ROW, scores={**ROW.scores, "e_max": 1.00098})])
    assert read_rows(tmp_path / "cells.csv")[0].scores["e_max"] == 1.00098
    write_rows(tmp_path / "cells.csv", [replace(ROW, scores={**ROW.scores, "e_max": 91.0})])
    with pytest.raises(InputError, match="e_max: expected a share"):
        read_rows(tmp_path / "cells.csv")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"null", b"a,b\n" * 3, b'"' * 200_000, b"\0" * 50])
def test_files_that_are_none_are_named(content, tmp_path):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"rows\.csv"):
        read_rows(tmp_path / "rows.csv")
    with pytest.raises(InputError, match="expected a CSV file of cells"):
        read_rows(tmp_path)


def test_costs_below_nothing_are_refused(file):
    with pytest.raises(InputError, match="0 or more"):
        read_rows(edited(file, "2000,32000", "-1,32000"))
