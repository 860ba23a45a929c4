import os

import pytest

from segkd.datasets.lists import LARGEST, Entry, Names, choose, columns, read_lines
from segkd.types import InputError

ENTRIES = [Entry(f"{i}", (f"images/{i}.jpg", f"masks/{i}.png")) for i in range(4)]
CITY = [
    Entry(f"a_{i}", (f"leftImg8bit/train/a/a_{i}_leftImg8bit.png", f"gtFine/train/a/a_{i}_gtFine.png"))
    for i in range(3)
]


def chosen(tmp_path, content, entries=ENTRIES):
    path = tmp_path / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else os.fsencode(content))
    return choose(path, "data.val", entries)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end_is_read(tmp_path, encoding, end):
    entries = [Entry("café"), Entry("b")]
    assert chosen(tmp_path, end.join(["café", "", "b", ""]).encode(encoding), entries).stems == ["café", "b"]


@pytest.mark.parametrize(
    "line",
    [
        "1", "1.jpg", "1.PNG", "images/1.jpg", "./images/1.jpg", "images\\1.jpg", "C:\\data\\images\\1.jpg",
        "/home/me/old/images/1.jpg", "/home/me/my data/1.jpg", "images/1.jpg masks/1.png", "images/1.jpg\tmasks/1.png",
        "images/1.jpg,masks/1.png", "1  1", "1 -1", "'1.jpg'", '"images/1.jpg","masks/1.png"', "7,images/1.jpg",
        "1;val", "images/1.jpg masks/unknown.png",
    ],
)  # fmt: skip
def test_a_line_may_be_written_in_many_ways(tmp_path, line):
    assert chosen(tmp_path, f"# names\n\n{line}\n{line}\n").stems == ["1"]


def test_names_with_blanks_and_commas_are_whole_before_they_are_columns(tmp_path):
    entries = [Entry("my photo (1)"), Entry("a,b"), Entry("my"), Entry("a"), Entry("d e/x")]
    assert chosen(tmp_path, "my photo (1).jpg\na,b\nimages/my photo (1)\nd e/x\n", entries).stems == [
        "my photo (1)", "a,b", "d e/x",
    ]  # fmt: skip


def test_files_are_found_by_their_path_where_a_pattern_made_the_name(tmp_path):
    lines = "leftImg8bit/train/a/a_1_leftImg8bit.png gtFine/train/a/a_1_gtFine.png\na_2_leftImg8bit\na_0_gtFine.png\n"
    assert chosen(tmp_path, lines, CITY).stems == ["a_1", "a_2", "a_0"]


def test_the_longest_end_that_is_a_name_counts_and_what_is_ambiguous_does_not():
    names = Names([Entry("a"), Entry("cat/a"), Entry("x", ("p/same.jpg",)), Entry("y", ("q/same.jpg",))])
    assert names.find("images/cat/a.jpg") == "cat/a" and names.find("bird/a") == "a"
    assert names.find("q/same.jpg") == "y" and names.find("same.jpg") is None
    assert names.find("/") is None and names.find("") is None


def test_a_name_in_another_folder_of_the_files_is_not_meant(tmp_path):
    """Frames of two sequences are numbered alike: seq1/0002, which is not there, must not become seq2/0002."""
    frames = [Entry(name, (f"{name}.png",)) for name in ("seq1/0001", "seq2/0002")]
    assert Names(frames).find("old/frames/0002.png") == Names(frames).find("seq2/0002") == "seq2/0002"
    below = [Entry("1", ("train/images/1.jpg", "train/masks/1.png")), Entry("9", ("val/images/9.jpg",))]
    assert Names(below).find("train/images/1.jpg") == Names(below).find("train/1") == "1"
    assert Names(below).find("old/images/1.jpg") == "1" and Names(below).find("val/images/1.jpg") is None
    with pytest.raises(InputError, match=r"1 of 2 lines of .*list.txt name no image(.|\n)*seq1/0002"):
        chosen(tmp_path, "seq1/0001\nseq1/0002.png\n", frames)


def test_names_differ_from_lists_in_unicode_form_or_bytes(tmp_path):
    raw = os.fsdecode(b"caf\xe9")
    assert chosen(tmp_path, "cafe\u0301\n", [Entry("café")]).stems == ["café"]
    assert chosen(tmp_path, b"caf\xe9\n", [Entry(raw)]).stems == [raw]
    assert chosen(tmp_path, b"caf\xe9\n", [Entry("café")]).stems == ["café"]


def test_a_heading_is_passed_over_and_numbers_after_names_are_told(tmp_path):
    found = chosen(tmp_path, "image,mask\nimages/1.jpg,masks/1.png\n")
    assert found.stems == ["1"] and found.notes == []
    for heading in ("image_path,mask_path", "ImageId,MaskId", "Image Name;x", '"sat_image_path","mask"', ",img_files"):
        assert chosen(tmp_path, f"{heading}\n1.jpg\n").stems == ["1"], heading
    for gone in ("image_7", "Photo 7.jpg", "photo 7", "Image of a cat.png"):  # an image that is not there
        with pytest.raises(InputError, match="1 of 2 lines"):
            chosen(tmp_path, f"{gone}\n1.jpg\n")
    assert chosen(tmp_path, "1  1\n2 -1\n").notes == [f"{tmp_path}/list.txt: only the names are read, not column 2 (1)"]


def test_a_table_of_run_lengths_is_a_list_however_long_its_cells_are(tmp_path):
    """One of a large picture is longer than the 131072 letters that Python's csv takes by itself."""
    table = f"image,rle\n1.jpg,{'1 2 ' * 40_000}\n2.jpg,3 4\n"
    assert chosen(tmp_path, table).stems == ["1", "2"]


def test_lines_that_name_nothing_are_listed(tmp_path):
    with pytest.raises(InputError) as error:
        chosen(tmp_path, "0\nnowhere\n1\nimages/gone.jpg\n/\n")
    assert str(error.value).startswith("3 of 5 lines") and "list.txt: nowhere" in str(error.value)


@pytest.mark.parametrize("line", ["same", "same.jpg", "same.jpg,same.png"])
def test_a_name_of_several_files_asks_for_the_folder(tmp_path, line):
    entries = [Entry(f"{split}/same", (f"images/{split}/same.jpg",)) for split in ("train", "val")]
    with pytest.raises(InputError, match=r"1 of 1 lines .* several files are called so \(train/NAME\)"):
        chosen(tmp_path, line, entries)


def test_a_line_that_crosses_images_and_masks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"1 lines of .* image stands beside another image's mask"):
        chosen(tmp_path, "images/1.jpg masks/1.png\nimages/2.jpg masks/3.png\n")


@pytest.mark.parametrize(
    "content",
    ["image,split\n0.jpg,train\n1.jpg,test\n", "split,image\ntrain,images/0.jpg\nVal,images/1.jpg\n",
     "0 validation\n1 test\n", "train images/0.jpg\nval images/1.jpg\n", "0;train\n", "0,a,train\n"],
)  # fmt: skip
def test_a_table_with_a_column_of_other_splits_is_no_list(tmp_path, content):
    with pytest.raises(InputError, match=r"data\.val: .*list\.txt: .* a table with a column of splits.*one list per"):
        chosen(tmp_path, content)


def test_a_table_of_one_split_is_its_list_and_its_other_columns_are_told(tmp_path):
    found = chosen(tmp_path, "image,split,weather\n0.jpg,val,sunny\n1.jpg,val,rain\n")
    assert found.stems == ["0", "1"]
    assert found.notes == [f"{tmp_path}/list.txt: only the names are read, not column 2 (split), column 3 (weather)"]
    assert "not column 2 (sunny)" in chosen(tmp_path, "0 sunny\n").notes[0]


def test_names_that_begin_as_splits_do_are_no_column_of_splits(tmp_path):
    """`test_0001 test_0001`, an image beside its mask; and where each image comes from."""
    entries = [Entry("test_0001"), Entry("test_0002")]
    found = chosen(tmp_path, "test_0001 test_0001\ntest_0002 test_0002\n", entries)
    assert found.stems == ["test_0001", "test_0002"]
    assert "not column 2 (train2017)" in chosen(tmp_path, "0.jpg,train2017\n1.jpg,val2017\n").notes[0]


@pytest.mark.parametrize(
    "content", ["id,image\n0,3.jpg\n1,2.jpg\n2,1.jpg\n", "0 3.jpg\n1 2.jpg\n2 1.jpg\n",
                ",image,mask\n0,3.jpg,3.png\n1,2.jpg,2.png\n2,1.jpg,1.png\n"]
)  # fmt: skip
def test_a_file_s_name_comes_before_a_number_that_counts_lines(tmp_path, content):
    found = chosen(tmp_path, content)
    assert found.stems == ["3", "2", "1"] and "column 1" in found.notes[0]


@pytest.mark.parametrize("line", ["img_0 img_1 img_2", "img_0,img_1", "img_0.jpg;img_1.jpg;img_2.jpg"])
def test_several_names_on_one_line_are_refused(tmp_path, line):
    with pytest.raises(InputError, match=r"1 lines of .* name more than one image.*a line of its own"):
        chosen(tmp_path, line, [Entry(f"img_{i}", (f"images/img_{i}.jpg",)) for i in range(3)])


def test_a_number_behind_a_file_s_name_that_is_another_image_counts_no_lines(tmp_path):
    with pytest.raises(InputError, match="name more than one image"):
        chosen(tmp_path, "1.jpg 2")


def test_what_is_no_list_is_refused_and_never_waited_for(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(InputError, match=r"data\.val: .*list\.txt: expected a text file.*found nothing there"):
        read_lines(path, "data.val")
    os.mkfifo(path)
    with pytest.raises(InputError, match="found no regular file there"):
        read_lines(path, "data.val")
    path.unlink()
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20)
    with pytest.raises(InputError, match="bytes that are no text"):
        read_lines(path, "data.val")
    os.truncate(path, LARGEST + 1)
    with pytest.raises(InputError, match="found one of 64 MB"):
        read_lines(path, "data.val")
    with pytest.raises(InputError, match="found no regular file"):
        read_lines(tmp_path.__class__("/dev/zero"), "data.val")


def test_columns_are_cut_at_the_first_sign_that_occurs():
    assert columns("a b\tc") == ["a b", "c"] and columns('"a,b",c') == ["a,b", "c"] and columns("a  1") == ["a", "1"]
