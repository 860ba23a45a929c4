import numpy as np

from segkd.engine.watch import Watch
from segkd.metrics.meter import Meter


def meter(confusion) -> Meter:
    made = Meter([f"class{i}" for i in range(len(confusion))])
    made.confusion += np.array(confusion)
    return made


def test_speaks_once_after_patience_and_again_after_a_relapse():
    watch, silent, fine = Watch(patience=2), meter([[90, 0], [10, 0]]), meter([[90, 0], [5, 5]])
    said = [watch.look(m) for m in (silent, silent, silent, fine, silent, silent)]
    assert [len(s) for s in said] == [0, 1, 0, 0, 0, 1]
    assert "nothing is predicted as foreground" in said[1][0] and "--overfit-one-batch" in said[1][0]


def test_names_the_class_that_is_never_predicted():
    (sentence,) = Watch(patience=1).look(meter([[9, 0, 1], [5, 0, 0], [0, 0, 9]]))
    assert "class 1 (class1, 20.83 % of the labels) is never predicted in the last validation" in sentence


def test_classes_that_are_gone_together_are_named_in_one_sentence():
    watch = Watch(patience=2)
    assert watch.look(meter([[9, 0, 0], [5, 0, 0], [9, 0, 0]])) == []
    (sentence,) = watch.look(meter([[9, 0, 0], [5, 0, 0], [9, 0, 0]]))
    assert "classes 1 (class1, 21.74 % of the labels), 2 (class2, 39.13 % of the labels) are never" in sentence


def test_a_class_that_does_not_occur_is_no_trouble():
    assert Watch(patience=1).look(meter([[9, 0], [0, 0]])) == []


def test_a_rare_class_is_gone_where_hardly_any_of_it_is_found_and_a_common_one_below_a_ten_thousandth_of_all():
    rare, common = [[99_995, 0], [0, 5]], [[98_000, 0], [1_991, 9]]
    assert Watch(patience=1).look(meter(rare)) == [] and Watch(patience=1).look(meter([[99_991, 0], [8, 1]])) == []
    for confusion in ([[99_985, 0], [15, 1]], common):
        assert len(Watch(patience=1).look(meter(confusion))) == 1
    assert Watch(patience=1).look(meter([[98_000, 0], [1_989, 11]])) == []


def test_the_last_validation_does_not_wait():
    (sentence,) = Watch(patience=3).look(meter([[90, 0], [10, 0]]), last=True)
    assert "in the last validation. Try" in sentence


def test_where_a_verdict_names_the_classes_it_does_not():
    """`--overfit-one-batch` ends in one; that its own advice was "Try --overfit-one-batch" led in a circle."""
    watch = Watch(patience=1, classes=False)
    assert watch.look(meter([[90, 0], [10, 0]])) == watch.look(meter([[90, 0], [10, 0]]), last=True) == []
    assert "not defined" in watch.judge("f_mean", float("nan"))[0]


def test_an_undefined_score_is_told_once():
    watch = Watch()
    assert watch.judge("f_mean", 0.5) == []
    assert "f_mean is not defined" in watch.judge("f_mean", float("nan"))[0]
    assert watch.judge("f_mean", float("nan")) == []
