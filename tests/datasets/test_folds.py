import pytest

from segkd.ablation.identity import data_digests
from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.folds import Fold, members_of
from segkd.datasets.opening import open_data
from segkd.types import InputError

NAMES = [f"case{i // 3}_{i}" for i in range(30)]


def test_every_name_is_in_one_fold_and_folds_are_of_one_size():
    folds = [members_of(NAMES, Fold(i, 4)) for i in range(4)]
    assert set().union(*folds) == set(NAMES) and sum(map(len, folds)) == len(NAMES)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert folds[1] == members_of(NAMES[::-1], Fold(1, 4))  # whatever the order of the names


def test_groups_stay_whole():
    folds = [members_of(NAMES, Fold(i, 3), lambda name: name.split("_")[0]) for i in range(3)]
    homes = [{name.split("_")[0] for name in fold} for fold in folds]
    assert not homes[0] & homes[1] and not homes[1] & homes[2] and not homes[0] & homes[2]
    with pytest.raises(InputError, match=r"at least 11 images or groups.*found 10.*fewer folds"):
        members_of(NAMES, Fold(0, 11), lambda name: name.split("_")[0])
    assert len(members_of(NAMES, Fold(9, 10), lambda name: name.split("_")[0])) == 3  # one for each fold is enough


def test_a_fold_leaves_the_training_split_and_no_other(make_folder):
    root = make_folder(12)
    whole, _ = open_data(Data(root=str(root), size=32), ["train", "val"], lambda n: None)
    rest = []
    for i in range(2):
        data = Data(root=str(root), size=32, fold=(i, 2))
        records, findings = open_data(data, ["train", "val"], lambda n: None)
        assert (
            records["val"].ids == whole["val"].ids
            and f"{len(records['train'])} train (of {len(whole['train'])}, without fold {i} of 2)" in findings.about
        )
        assert data_digests(data)["train"]["pairs"] == len(records["train"])
        image, label = records["train"].load(0)
        assert image.shape[:2] == label.shape
        rest.append(set(records["train"].ids))
    assert rest[0] | rest[1] == set(whole["train"].ids) and not rest[0] & rest[1]


def test_only_one_fold_is_what_the_others_leave(make_folder):
    root = make_folder(12)
    given = {"root": str(root), "size": 32}
    ids = {}
    for name, how in (("whole", {}), ("without", {"fold": (1, 3)}), ("only", {"only_fold": (1, 3)})):
        records, findings = open_data(Data(**given, **how), ["train", "val"], lambda n: None)
        ids[name], val = set(records["train"].ids), records["val"].ids
        assert data_digests(Data(**given, **how))["train"]["pairs"] == len(ids[name]) and len(val) == 2
    assert ids["only"] | ids["without"] == ids["whole"] and not ids["only"] & ids["without"]
    assert ids["only"] == members_of(sorted(ids["whole"]), Fold(1, 3))
    assert f"{len(ids['only'])} train (of {len(ids['whole'])}, only fold 1 of 3)" in findings.about
    embedded = open_data(Data(embedded=Embedded(train=9), size=32, only_fold=(0, 3)), ["train"], print)[0]["train"]
    assert len(embedded) == 3
    for wrong, said in (({"only_fold": (3, 3)}, r"data\.only_fold is \[3, 3\]; give \[i, k\]"),
                        ({"only_fold": (0, 3), "fold": (0, 3)}, "give one of them")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            open_data(Data(**given, **wrong), ["train"], print)
    with pytest.raises(InputError, match=r"data\.only_fold: expected at least 99 images"):
        open_data(Data(**given, only_fold=(0, 99)), ["train"], print)


def test_groups_of_the_data_are_in_one_fold(make_folder):
    root = make_folder(30)
    rest = []
    for i in range(2):
        records, _ = open_data(
            Data(root=str(root), size=32, group=r"photo(\d)", fold=(i, 2)), ["train"], lambda n: None
        )
        rest.append({name.removeprefix("photo")[0] for name in records["train"].ids})  # 1 and 10 to 19 are of one group
    assert rest[0] and rest[1] and not rest[0] & rest[1]


def test_where_nothing_is_trained_on_no_fold_is_left_out(make_folder):
    root = make_folder(3)
    (root / "train.txt").write_text("gone\n")
    (root / "test.txt").write_text("photo0\nphoto1\n")
    records, _ = open_data(Data(root=str(root), size=32, fold=(0, 2)), ["test"], lambda n: None)
    assert records["test"].ids == ("photo0", "photo1")


def test_generated_images_have_folds_too():
    embedded = Embedded(train=9, val=2, test=2, side=32)
    found = [open_data(Data(embedded=embedded, size=32, fold=(i, 3)), ["train"], print)[0]["train"] for i in range(3)]
    assert [len(one) for one in found] == [6, 6, 6] and not set.intersection(*(set(one.ids) for one in found))
    whole = open_data(Data(embedded=embedded, size=32), ["train"], print)[0]["train"]
    assert len(open_data(Data(embedded=embedded, size=32, fold=(0, 2)), ["val"], print)[0]["val"]) == 2
    name = found[0].ids[2]
    assert (found[0].load(2)[0] == whole.load(whole.ids.index(name))[0]).all()
    assert data_digests(Data(embedded=embedded, fold=(0, 3)))["train"]["pairs"] == 6


@pytest.mark.parametrize("fold", [(2, 2), (-1, 3), (0, 1)])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(InputError, match=r"data\.fold is .*give \[i, k\]"):
        open_data(Data(embedded=Embedded(train=4), size=32, fold=fold), ["train"], print)
