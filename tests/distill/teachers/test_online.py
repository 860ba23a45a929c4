import torch

from segkd.distill.teachers.online import OnlineLabels, sums_where_right
from segkd.types import IGNORE, Prediction
from tests.distill.teachers.stage import Tiny, met


def test_only_pixels_that_are_predicted_right_are_counted(make_batch):
    label = make_batch(3).label
    logits = torch.randn(2, 3, 32, 32)
    sums, counts = sums_where_right(logits, label)
    shares = logits.softmax(dim=1)
    for c in range(3):
        right = (label == c) & (shares.argmax(dim=1) == c)
        assert counts[c] == right.sum() > 0
        torch.testing.assert_close(sums[c], shares.movedim(1, -1)[right].sum(dim=0), rtol=1e-4, atol=1e-4)


def test_an_epoch_s_means_teach_the_next_epoch_and_nothing_the_first(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(OnlineLabels(), student, batch, steps_per_epoch=2)
    says = [Prediction(3 * torch.randn(2, 3, 32, 32)) for _ in range(3)]
    for step in (1, 2):
        assert not teacher(batch, says[step - 1], student).mask.any()
        teacher.follow(student, step)
    parts = [sums_where_right(one.logits, batch.label) for one in says[:2]]
    rows = (parts[0][0] + parts[1][0]) / (parts[0][1] + parts[1][1]).unsqueeze(1)
    lesson = teacher(batch, says[2], student)
    at = (batch.label == 1).nonzero()[0].tolist()
    torch.testing.assert_close(lesson.target.logits[at[0], :, at[1], at[2]].exp(), rows[1])
    assert lesson.mask[batch.valid].all()
    teacher.eval()
    before = teacher.counts.clone()
    teacher(batch, says[2], student)
    assert torch.equal(teacher.counts, before)


def test_what_is_counted_keeps_no_step_s_graph(make_batch):
    """It would hold the activations of all steps of an epoch."""
    batch, student = make_batch(3), Tiny()
    teacher = met(OnlineLabels(), student, batch)
    for _ in range(2):
        lesson = teacher(batch, student(batch.image), student)
    assert not any(one.requires_grad for one in (*teacher.buffers(), lesson.target.logits))


def test_a_class_that_was_never_right_is_not_taught(make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(OnlineLabels(), student, batch, steps_per_epoch=1)
    wrong = Prediction(torch.zeros(2, 3, 32, 32))
    wrong.logits[:, 0] = 5.0  # class 0 everywhere
    teacher(batch, wrong, student)
    teacher.follow(student, 1)
    lesson = teacher(batch, wrong, student)
    assert lesson.mask[batch.label == 0].all() and not lesson.mask[batch.label == 1].any()


def test_an_ignored_pixel_that_is_no_number_is_not_counted(make_batch):
    label = make_batch(3).label
    label[:, 0, 0] = IGNORE
    logits = torch.randn(2, 3, 32, 32)
    logits[:, :, 0, 0] = float("inf")
    assert sums_where_right(logits, label)[0].isfinite().all()
