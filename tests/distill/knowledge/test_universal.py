import numpy as np
import pytest
import torch

from segkd.distill.knowledge.universal import Universal, universal, zipf_shares
from segkd.types import InputError, Prediction
from tests.distill.knowledge.maps import maps, over_pixels, softmax


def test_zipf_shares_fall_with_the_rank_and_leave_out_the_label():
    rank_by = torch.tensor([0.1, 0.5, 0.3, 0.2]).view(1, 4, 1, 1)
    shares = zipf_shares(rank_by, torch.tensor([[[1]]]))[0, :, 0, 0]
    total = 1 + 1 / 2 + 1 / 3
    torch.testing.assert_close(shares, torch.tensor([1 / 3, 0.0, 1.0, 1 / 2]) / total)


def test_universal_is_the_formula_pixel_by_pixel():
    student, weak, label, valid = maps(5)
    mean_square = over_pixels(lambda s, w, y: softmax(s)[y] ** 2, student, weak, label, valid)

    def one(s, w, y):
        p, n = softmax(s), np.where(np.arange(5) == y, -np.inf, s)
        rest = softmax(n)
        target = p[y] ** 2 + 1 - mean_square
        rank_by = np.where(np.arange(5) == y, -1, rest + softmax(np.where(np.arange(5) == y, -np.inf, w)))
        z = np.zeros(5)
        for rank, c in enumerate(np.argsort(-rank_by)[:4], 1):
            z[c] = 1 / rank
        z /= z.sum()
        return -0.8 * target * np.log(p[y]) - 0.3 * sum(z[c] * np.log(rest[c]) for c in range(5) if c != y)

    found = universal(student, weak, label, valid, 0.8, 0.3)
    assert float(found) == pytest.approx(over_pixels(one, student, weak, label, valid), rel=1e-4)


def test_a_sure_student_s_order_of_the_other_classes_counts_as_much_as_the_weak_head_s():
    # beside the label the student says .75 and .25, the weak head .33 and .67; as they stand, .015 and .005, .3 and .6
    student, weak = (torch.tensor(p).log().view(1, 3, 1, 1) for p in ([0.98, 0.015, 0.005], [0.1, 0.3, 0.6]))
    here = torch.ones(1, 1, 1, dtype=torch.bool)
    found = universal(student, weak, torch.zeros(1, 1, 1, dtype=torch.int64), here, 0.0, 1.0)
    assert float(found) == pytest.approx(-(2 * np.log(0.75) + np.log(0.25)) / 3, rel=1e-4)


def test_two_classes_are_refused_with_what_is_left():
    two = Prediction(torch.zeros(1, 2, 4, 4), exits=(torch.zeros(1, 2, 2, 2),))
    with pytest.raises(InputError, match=r"three classes or more; for two, methods/label_smoothing\.yaml"):
        Universal().meet(two, two)
