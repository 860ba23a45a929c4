from segkd.datasets.digest import differences, digest_of, digest_of_all, reordered
from segkd.datasets.pairing import Pair


def test_the_digest_follows_each_file_by_itself(tmp_path):
    pair = Pair("a", tmp_path / "image", tmp_path / "mask")
    pair.image.write_bytes(b"one")
    pair.mask.write_bytes(b"two")
    before = digest_of(pair).split()
    pair.mask.write_bytes(b"three")
    after = digest_of(pair).split()
    assert before[0] == after[0] and before[1] != after[1] and len(before[0]) == 16
    pair.mask.unlink()
    assert digest_of(pair) == ""


def test_what_differs_is_counted_and_named():
    then = {"train": {"a": "1 1", "b": "2 2", "c": "3 3"}, "val": {"d": "4 4"}}
    now = {"train": {"a": "1 9", "b": "8 2", "e": "5 5"}, "val": {"d": "4 4"}}
    assert differences(then, then) == [] and digest_of_all(then) != digest_of_all(now)
    (said,) = differences(then, now)
    assert said == "train: 1 added (e), 1 removed (c), 1 with another image (b), 1 with another mask (a)"
    many = {"val": {str(n): "" for n in range(9)}}
    assert differences({}, many) == ["val: 9 added (0, 1, 2, ...)"]


def test_another_order_is_told_of():
    then, now = {"train": {"a": "1 1", "b": "2 2"}}, {"train": {"b": "2 2", "a": "1 1"}}
    assert digest_of_all(then) == digest_of_all(now) and differences(then, now) == []
    assert reordered(then, now) == ["train: the same images in another order"] and reordered(then, then) == []
    assert reordered({"val": then["train"]}, {"val": now["train"]}) == []  # scores do not depend on it


def test_an_image_that_moves_to_another_split_is_told_of():
    assert differences({"train": {"a": "1 1"}, "val": {}}, {"train": {}, "val": {"a": "1 1"}}) == [
        "train: 1 removed (a)",
        "val: 1 added (a)",
    ]
