import numpy as np
import pytest

from segkd.ablation.identity import data_digests
from segkd.datasets import cache
from segkd.datasets.data import Data, Domain
from segkd.datasets.domains import domains_by, parts_of
from segkd.datasets.embedded import Embedded
from segkd.datasets.opening import open_data
from segkd.types import InputError


def opened(data, wanted=("train", "val"), skipped=None):
    return open_data(data, wanted, lambda n: None, skipped)


@pytest.fixture
def two(make_folder):
    """Folders one (masks of 0/255) and two (0/1) below one root."""
    make_folder(n=6, high=255, name="sets/one")
    return make_folder(n=10, high=1, name="sets/two").parent


def test_domains_are_read_each_by_its_own_settings_and_joined(two):
    records, findings = opened(Data(root=str(two), domains={"one": Domain(), "two": Domain(val_share=0.4)}))
    train = records["train"]
    assert [len(records[name]) for name in ("train", "val")] == [5 + 6, 1 + 4]
    assert train.domains == ("one",) * 5 + ("two",) * 6
    assert all(id.startswith(f"{domain}/") for id, domain in zip(train.ids, train.domains))
    assert len(train.digests) == len(set(train.ids)) == 11
    for name, first in (("one", 0), ("two", 5)):
        alone, _ = opened(parts_of(Data(root=str(two), domains={"one": Domain(), "two": Domain(val_share=0.4)}))[name])
        for i, id in enumerate(alone["train"].ids):
            assert train.ids[first + i] == f"{name}/{id}"
            for joined, own in zip(train.load(first + i), alone["train"].load(i), strict=True):
                np.testing.assert_array_equal(joined, own)
            assert train.load(first + i)[1].sum() == 320  # both masks are read as 0 and 1
    assert "2 domains, 11 train, 5 val images" in findings.about and "255 -> 1" in findings.about


def test_a_domain_s_way_to_read_masks_stands_for_the_shared_one(two):
    data = Data(root=str(two), label_map={0: 0, 1: 1}, domains={"one": Domain(threshold=128), "two": Domain()})
    parts = parts_of(data)
    assert parts["one"].label_map is None and parts["one"].threshold == 128 and parts["two"].label_map == {0: 0, 1: 1}
    records, _ = opened(data)
    assert all(records["train"].load(i)[1].sum() == 320 for i in range(len(records["train"])))


def test_a_domain_in_colours_takes_nothing_over_that_is_said_of_numbers(two):
    colours = {"background": [0, 0, 0], "foreground": [255, 255, 255]}
    domains = {"one": Domain(colours=colours), "two": Domain()}
    for shared in ({"ignore": [7]}, {"ignore": [7], "label_map": {0: 0, 1: 1}}):
        data = Data(root=str(two), domains=domains, **shared)
        assert parts_of(data)["two"].ignore == [7]
        records, _ = opened(data)
        assert len(records["train"]) == 13
    with pytest.raises(InputError, match=r"data\.domains\.one\.colours"):
        opened(Data(root=str(two), domains={"one": Domain(colours=colours, ignore=[7]), "two": Domain()}))


def test_a_fault_names_the_domain_and_its_own_setting(two):
    data = Data(root=str(two), label_map={0: 0, 1: 1}, domains={"one": Domain(), "two": Domain()})
    with pytest.raises(InputError, match=r"domain one: the data cannot be used as they are"):
        opened(data)
    with pytest.raises(InputError, match=r"domain one: no test split: expected data\.domains\.one\.test, a list"):
        opened(Data(root=str(two), domains={"one": Domain(), "two": Domain()}), ("test",))


def test_bad_files_are_forgiven_by_domain(two):
    (two / "one" / "masks" / "photo3.png").write_bytes(b"broken")
    skipped = {}
    records, _ = opened(Data(root=str(two), domains={"one": Domain(), "two": Domain()}), ("train", "val"), skipped)
    assert list(skipped) == ["one/photo3"] and len(records["train"]) + len(records["val"]) == 15


def test_the_memory_is_shared(two):
    names = {"one": Domain(), "two": Domain()}
    whole, found = opened(Data(root=str(two), domains=names))
    assert found.memory == 16 * 48 * 40 * 4
    _, some = opened(Data(root=str(two), domains=names, cache_gb=7 * 48 * 40 * 4 / 1e9))
    assert some.memory == 6 * 48 * 40 * 4 and "read from disk each time" in some.about


def test_detail_is_shared_too(make_folder, monkeypatch):
    root = make_folder(n=6, size=(400, 300), name="sets/one").parent
    make_folder(n=6, size=(400, 300), name="sets/two")
    monkeypatch.setattr(cache, "BYTES", 5 * cache.ROOM * 4 * 3.125 * 32**2 * 4)  # of 5 images, four times the least

    def pixels(data):
        records, _ = open_data(data, ["train"], lambda n: None, training=True)
        return records["train"].load(0)[1].size

    alone = pixels(Data(root=str(root / "one"), size=32))
    both = pixels(Data(root=str(root), size=32, domains={"one": Domain(), "two": Domain()}))
    assert both == pytest.approx(alone / 2, rel=0.05)


def test_generated_domains_have_seeds_of_their_own():
    data = Data(embedded=Embedded(train=3, val=1, test=1, side=32), domains={"one": Domain(), "two": Domain()})
    records, _ = opened(data)
    assert records["train"].ids == tuple(f"{name}/train{i:04d}" for name in ("one", "two") for i in range(3))
    assert (records["train"].load(0)[0] != records["train"].load(3)[0]).any()
    assert data_digests(data)["train"]["pairs"] == 6


def test_identity_follows_files_and_not_their_place(two, make_folder):
    data = Data(root=str(two), domains={"one": Domain(), "two": Domain()})
    before = data_digests(data)
    assert {name: part["pairs"] for name, part in before.items()} == {"train": 13, "val": 3}
    moved = make_folder(n=6, high=255, name="elsewhere")
    other = Data(root=str(two), domains={"one": Domain(root=str(moved)), "two": Domain()})
    assert data_digests(other) == before
    (moved / "masks" / "photo1.png").write_bytes(b"longer" * 1000)
    assert data_digests(other) != before


def test_groups_of_names_are_domains(make_folder):
    root = make_folder(n=12)
    records, _ = opened(Data(root=str(root), domain_group=r"(\d)", val_share=0.3))
    train = records["train"]
    assert train.domains == tuple(id.removeprefix("photo")[0] for id in train.ids)
    with pytest.raises(InputError, match=r"data\.domain_group: 'photo\(1\)' does not occur in \d+ of"):
        opened(Data(root=str(root), domain_group=r"photo(1)"))
    with pytest.raises(InputError, match="does not occur in"):  # its second group is no domain
        opened(Data(root=str(root), domain_group=r"(x)?photo(\d)"))


def test_a_domain_is_what_an_expression_or_its_first_group_finds():
    names = ["cam1_7", "cam2_8"]
    assert domains_by(r"^cam\d", names) == ("cam1", "cam2") and domains_by(r"_(\d)", names) == ("7", "8")
    with pytest.raises(InputError, match="does not occur in 1 of 2 names, cam2_8"):  # it does, but without its group
        domains_by(r"cam(1)?", names)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"domains": {"one": Domain()}}, r"two data sets or more, found only one; write its settings into data itself"),
        ({"domains": {}}, "two data sets or more, found none"),
        ({"domains": {"a/b": Domain(), "two": Domain()}}, "'a/b' begins names of images"),
        ({"domains": {"one": Domain(), "two": Domain()}, "domain_group": "x"}, "both say what the domains are"),
        (
            {"domains": {"one": Domain(), "two": Domain(val_share=2.0)}},
            r"domain two: .*\n.*\.two\.val_share",
        ),
    ],
)
def test_domains_that_cannot_be_meant_are_refused_before_any_file_is_read(settings, said):
    with pytest.raises(InputError, match=said):
        opened(Data(root="nowhere", **settings))


def test_a_domain_without_a_place_is_refused():
    with pytest.raises(InputError, match=r"data\.domains\.two: nothing says where it lies") as error:
        opened(Data(domains={"one": Domain(root="x"), "two": Domain()}))
    assert "data.domains.one" not in str(error.value)
