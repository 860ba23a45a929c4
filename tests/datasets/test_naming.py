import pytest

from segkd.datasets.called import masks_among
from segkd.datasets.naming import find_rule_within, find_rules, matches, same_names

NUMBERS = [f"{i:03}" for i in range(8, 32)]


def find_rule(left, right):
    return next(iter(find_rules(left, right)), None)


@pytest.mark.parametrize(
    ("image", "mask", "patterns"),
    [
        ("{}", "{}_mask", ("{}", "{}_mask")),
        ("ISIC_0{}", "ISIC_0{}_segmentation", ("{}", "{}_segmentation")),
        ("{}_training", "{}_manual1", ("{}_training", "{}_manual1")),
        ("train_{}", "gt_{}", ("train_{}", "gt_{}")),
        ("{}", "{}.jpg", ("{}", "{}.jpg.*")),
        ("{}", "seg-{}", ("{}", "seg-{}")),
        ("{}_image", "{}", ("{}_image", "{}")),
        ("{}", "{}mask", ("{}", "{}mask")),
        ("in_{}_rgb", "{}", ("in_{}_rgb", "{}")),
        ("{}", "gt_{}_m", ("{}", "gt_{}_m")),
        ("img_{}", "{}_mask", ("img_{}", "{}_mask")),
        ("{}_img", "mask_{}", ("{}_img", "mask_{}")),
        ("IMG-{}-rgb", "({}) gt", ("IMG-{}-rgb", "({}) gt")),
        ("x/img_{}", "x/{}_mask", ("**/img_{}", "**/{}_mask")),
        ("aachen/{}_leftImg8bit", "aachen/{}_gtFine_labelTrainIds", ("{}_leftImg8bit", "{}_gtFine_labelTrainIds")),
        ("{}", "a/{}_m", ("**/{}", "**/{}_m")),
        ("x/{}", "y/{}", ("**/{}", "**/{}")),
    ],
)
def test_the_rule_between_names_is_found_and_written_as_patterns(image, mask, patterns):
    images, masks = [image.format(n) for n in NUMBERS], [mask.format(n) for n in NUMBERS]
    rule = find_rule(images, masks)
    assert rule is not None and rule.matched == len(NUMBERS)
    assert (rule.pattern("", rule.left, ""), rule.pattern("", rule.right, "")) == patterns
    assert matches(rule, images, masks) == dict(zip(masks, images))


def test_a_rule_that_most_names_follow_says_how_many():
    rule = find_rule([*NUMBERS, "odd"], [f"{n}_mask" for n in NUMBERS[1:]] + ["stray"])
    assert rule is not None and rule.matched == len(NUMBERS) - 1 and rule.words() == "NAME -> NAME_mask"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([str(i) for i in range(1, 60)], [f"10{i:02}" for i in range(1, 60)]),  # frame 10 is not frame 1010
        (["a"], ["cat"]),
        (["abc", "def"], ["xyz", "uvw"]),
        (["a", "b"], []),
        (NUMBERS, ["one_mask", "two_mask", "three_mask"]),
        ([f"img_{i}" for i in range(1, 60)], [f"10{i:02}_mask" for i in range(1, 60)]),
        (["img_1", "img_2"], ["one_mask", "two_mask"]),
    ],
)
def test_no_rule_is_made_up(left, right):
    assert find_rule(left, right) is None


def test_a_lone_pair_has_a_rule_where_whole_words_differ():
    assert find_rule(["cat"], ["cat_mask"]) is not None and find_rule(["cat"], ["cats"]) is None


def test_a_folder_of_images_and_masks_has_its_rule():
    rule = find_rule_within([*NUMBERS, *(f"{n}_mask" for n in NUMBERS)])
    assert rule is not None and rule.right == ("", "_mask") and rule.matched == len(NUMBERS)
    rule = find_rule_within(["a", "b", "c", "a_mask", "b_mask", "c_mask", "sheet"])  # one stray among few
    assert rule is not None and rule.matched == 3
    rule = find_rule_within([*(f"{n}_sat" for n in NUMBERS), *(f"{n}_mask" for n in NUMBERS)])
    assert rule is not None and (rule.left, rule.right) == (("", "_sat"), ("", "_mask"))
    rule = find_rule_within([*(f"img{n}" for n in NUMBERS), *(f"mask{n}" for n in NUMBERS)])
    assert rule is not None and (rule.left, rule.right) == (("img", ""), ("mask", "")) and rule.folders
    assert find_rule_within([*(f"a_{n}" for n in NUMBERS), *(f"b_{n}" for n in NUMBERS)]) is None
    assert find_rule_within([*(f"{n}_a" for n in NUMBERS), *(f"{n}_b" for n in NUMBERS)]) is None
    assert find_rule_within([*NUMBERS, "008_mask", "009_mask", "010_mask"]) is None  # most are alone
    assert find_rule_within(NUMBERS) is None and find_rule_within([]) is None


def test_names_are_the_same_letter_by_letter_composed_or_but_for_their_case():
    assert same_names(["a", "b"], ["b", "c"]) == ({"b": "b"}, "")
    assert same_names(["caf\u00e9", "a"], ["cafe\u0301", "a"]) == ({"caf\u00e9": "cafe\u0301", "a": "a"}, "")
    by_case = "1 names differ in upper and lower case alone"
    assert same_names(["IMG1", "b"], ["img1", "b", "c"]) == ({"IMG1": "img1", "b": "b"}, by_case)
    assert same_names(["IMG1", "b"], ["img1", "c"]) == ({}, "")  # only where no name stays alone
    assert same_names(["A", "a"], ["a", "b"]) == ({"a": "a"}, "")


def test_numbers_with_and_without_zeros_in_front_are_the_same_name_where_told():
    by_zeros = "2 names differ in zeros in front of numbers alone"
    assert same_names(["0", "10", "7"], ["00000", "00010"], told=True) == ({"0": "00000", "10": "00010"}, by_zeros)
    assert same_names(["s1/a7_2", "s1/a70_2"], ["s01/a007_2", "s01/a070_2"], told=True)[0].keys() == {
        "s1/a7_2",
        "s1/a70_2",
    }
    assert same_names(["7", "07"], ["007"], told=True) == ({}, "")  # which of both?
    assert same_names(["7", "8"], ["07", "09"], told=True) == ({}, "")  # 9 is no image's
    assert same_names(["v1.5"], ["v1.05"], told=True) == ({}, "")
    assert same_names(["7"], ["0007"]) == ({}, "")  # any two folders of numbers would belong together


@pytest.mark.parametrize(
    ("names", "masks"),
    [
        ("a a_mask b_mask", "a_mask"),
        ("images/a masks/a masks/b", "masks/a"),
        ("x/images/1/a x/labelsTr/1/a_seg y/labelsTr/1/a", "x/labelsTr/1/a_seg"),
        ("img/a SegmentationClass/a gtFine/a train_annot/a", "SegmentationClass/a gtFine/a train_annot/a"),
        ("img/a 1st_manual/a a_groundtruth/a", "1st_manual/a a_groundtruth/a"),
        ("labelled/a unlabelled/a lengths/a photos/a", ""),
        ("seg_1/a seg_2/a", ""),
        ("masks/a b", ""),
    ],
)  # fmt: skip
def test_masks_among_photos_are_known_by_their_names_where_the_image_is_there(names, masks):
    assert masks_among(names.split()) == set(masks.split())
