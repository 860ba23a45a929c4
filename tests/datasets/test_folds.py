import pytest

from segkd.ablation.identity import data_digests
from segkd.datasets.data import Data, open_data
from segkd.datasets.embedded import Embedded
from segkd.datasets.folds import left_out
from segkd.types import InputError

NAMES = [f"case{i // 3}_{i}" for i in range(30)]


def test_every_name_is_in_one_fold_and_folds_are_of_one_size():
    folds = [left_out(NAMES, (i, 4)) for i in range(4)]
    assert set().union(*folds) == set(NAMES) and sum(map(len, folds)) == len(NAMES)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert folds[1] == left_out(NAMES[::-1], (1, 4))  # whatever the order of the names


def test_groups_stay_whole():
    folds = [left_out(NAMES, (i, 3), lambda name: name.split("_")[0]) for i in range(3)]
    homes = [{name.split("_")[0] for name in fold} for fold in folds]
    assert not homes[0] & homes[1] and not homes[1] & homes[2] and not homes[0] & homes[2]
    with pytest.raises(InputError, match=r"at least 11 images or groups.*found 10.*fewer folds"):
        left_out(NAMES, (0, 11), lambda name: name.split("_")[0])


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


def test_generated_images_have_folds_too():
    embedded = Embedded(train=9, val=2, test=2, side=32)
    found = [open_data(Data(embedded=embedded, size=32, fold=(i, 3)), ["train"], print)[0]["train"] for i in range(3)]
    assert [len(one) for one in found] == [6, 6, 6] and not set.intersection(*(set(one.ids) for one in found))
    whole = open_data(Data(embedded=embedded, size=32), ["train"], print)[0]["train"]
    name = found[0].ids[2]
    assert (found[0].load(2)[0] == whole.load(whole.ids.index(name))[0]).all()
    assert data_digests(Data(embedded=embedded, fold=(0, 3)))["train"]["pairs"] == 6


@pytest.mark.parametrize("fold", [(2, 2), (-1, 3), (0, 1)])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(InputError, match=r"data\.fold is .*give \[i, k\]"):
        open_data(Data(embedded=Embedded(train=4), size=32, fold=fold), ["train"], print)
