from pathlib import Path

import pytest

from segkd.datasets.geometry import misfit, own_size, refuse_misfits, same_shape
from segkd.types import InputError

HERE = Path("a.png")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ((40, 50), (40, 50), True), ((20, 25), (40, 50), True), ((81, 101), (40, 50), True),
        ((224, 300), (333, 446), True), ((333, 446), (224, 300), True), ((50, 40), (40, 50), False),
        ((256, 256), (300, 400), False), ((40, 44), (40, 50), False), ((4, 60000), (40, 40), False),
    ],
)  # fmt: skip
def test_one_shape_enlarged_or_reduced_is_told_from_another(a, b, same):
    assert same_shape(a, b) is same


@pytest.mark.parametrize(
    ("found", "label", "said"),
    [
        ((40, 50), (40, 50), None), ((20, 25), (40, 50), None), ((256, 256), (300, 400), None),
        ((50, 40), (40, 50), "on its side"), ((25, 20), (40, 50), "on its side"), ((40, 44), (40, 50), "another shape"),
        ((4, 60000), (40, 40), "32 times"), ((13000, 13000), (40, 40), "32 times"), ((1, 1), (40, 40), "too few"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_size_is_said(found, label, said):
    sentence = misfit(HERE, found, label, own=(256, 256))
    assert (sentence is None) if said is None else (said in sentence and "a.png" in sentence)


def test_the_one_size_of_a_network_is_recognised():
    labels = {"a": (300, 400), "b": (400, 300), "c": (310, 410)}

    def sizes(found):
        return {id: (found, label) for id, label in labels.items()}

    assert own_size(sizes((256, 256))) == (256, 256) and own_size(sizes((192, 256))) == (192, 256)
    assert own_size({id: (label, label) for id, label in labels.items()}) is None
    assert own_size({id: (label[::-1], label) for id, label in labels.items()}) is None
    assert own_size({"a": ((400, 300), (300, 400))}) is None, "turned, not resized"
    assert own_size(sizes((4, 4000))) is None and own_size(sizes((294, 381))) is None
    assert own_size(sizes((192, 254))) is None and own_size(sizes((190, 256))) is None, "a cut, which halves but once"
    assert own_size({id: ((40, 48), (80, 96)) for id in "abc"}) is None, "half of its label, as all are"
    mixed = {id: (label, label) for id, label in labels.items()} | {"d": ((256, 256), (300, 400))}
    assert own_size(mixed) is None, "one odd file among files at their labels' size"
    assert own_size({"a": ((256, 256), (300, 400))}) == (256, 256)


def test_a_folder_of_misfits_is_refused_as_one():
    cut, turned, good, square = ((40, 44), (40, 50)), ((50, 40), (40, 50)), ((40, 50), (40, 50)), ((40, 40), (40, 40))
    refuse_misfits({"a": "bad"}, {"a": cut, "b": good})
    refuse_misfits({"a": "bad"}, {"a": cut, "b": square})
    refuse_misfits({"a": "bad"}, {"a": turned, "b": good, "c": square})
    refuse_misfits({"a": "bad"}, {"a": turned, "b": square, "c": square})
    refuse_misfits({}, {})
    refuse_misfits({}, {"a": square})
    with pytest.raises(InputError, match=r"no prediction has the shape of its label\. First: bad"):
        refuse_misfits({"a": "bad", "b": "bad"}, {"a": cut, "b": turned})
    with pytest.raises(InputError, match="but for squares"):  # which lie on their side as well
        refuse_misfits({"a": "bad"}, {"a": turned, "b": square})


def test_an_array_on_its_side_is_told_to_be_transposed():
    assert "np.swapaxes" in str(misfit(Path("a.npy"), (50, 40), (40, 50), None))
    assert "EXIF" not in str(misfit(Path("a.npy"), (50, 40), (40, 50), None))
