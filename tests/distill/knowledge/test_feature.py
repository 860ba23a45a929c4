import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.distill.knowledge.across import AttentionAcross, TeacherFree
from segkd.distill.knowledge.feature import (
    Attention,
    Hint,
    IntraClass,
    MeanFeatures,
    attention_distance,
    intra_class,
)
from segkd.distill.knowledge.relation import Affinity, Prototypes
from segkd.distill.knowledge.structured import StructuredAttention
from segkd.types import IGNORE, InputError, Prediction
from tests.distill.knowledge.maps import maps


def levels(*channels: int, size: int = 16, grows: bool = False) -> Prediction:
    made = tuple(torch.randn(2, c, size >> i, size >> i, requires_grad=grows) for i, c in enumerate(channels))
    return Prediction(torch.zeros(2, 3, 32, 32), made)


def test_attention_is_the_distance_of_unit_maps_of_energy():
    student, teacher, _, valid = maps(4)
    gaps = []
    for b in range(2):
        inside = valid[b].numpy()
        a, t = ((x[b].double().numpy() ** 2).mean(axis=0)[inside] for x in (student, teacher))
        gaps.append(((a / np.linalg.norm(a) - t / np.linalg.norm(t)) ** 2).sum())
    assert float(attention_distance(student, teacher, valid)) == pytest.approx(np.mean(gaps), rel=1e-5)


def test_attention_does_not_depend_on_size_or_scale():
    """FRSKD's own mean over positions would be a quarter at twice the side."""
    a, b = torch.rand(2, 5, 8, 8), torch.rand(2, 5, 8, 8)
    large = [x.repeat_interleave(2, 2).repeat_interleave(2, 3) for x in (a, b)]
    small, valid = (
        attention_distance(a, b, torch.ones(2, 8, 8, dtype=torch.bool)),
        torch.ones(2, 16, 16, dtype=torch.bool),
    )
    torch.testing.assert_close(attention_distance(*large, valid), small)
    torch.testing.assert_close(attention_distance(7 * large[0], large[1], valid), small)


def test_intra_class_is_the_distance_of_cosines_to_the_own_centre():
    student, teacher, label, _ = maps(4)
    gaps = []
    for b in range(2):
        for i, j in np.argwhere((label[b] != IGNORE).numpy()):
            cosines = []
            for x in (student, teacher):
                centre = x[b][:, label[b] == label[b, i, j]].double().mean(dim=1)
                cosines.append(F.cosine_similarity(x[b, :, i, j].double(), centre, dim=0).item())
            gaps.append((cosines[0] - cosines[1]) ** 2)
    assert float(intra_class(student, teacher, label, 4)) == pytest.approx(np.mean(gaps), rel=1e-4)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_hint_projects_the_student_to_the_teacher_s_channels(normalise, make_batch):
    batch, student, teacher = make_batch(3), levels(4, 6, grows=True), levels(5, 7)
    hint = Hint(normalise=normalise)
    assert not list(hint.parameters())  # a constructor draws nothing
    hint.meet(student, teacher)
    losses = []
    for one, goal, project, step in zip(student.features, teacher.features, hint.projectors, (2, 4)):
        ours, theirs = project(one), goal
        if normalise:
            gap = (F.normalize(ours, dim=1) - F.normalize(theirs, dim=1)).square().sum(dim=1)
        else:
            gap = (ours - theirs).square().mean(dim=1)
        inside = batch.label[:, step // 2 :: step, step // 2 :: step] != IGNORE
        losses.append(gap[inside].mean())
    torch.testing.assert_close(hint(student, teacher, batch), torch.stack(losses).mean())


def test_what_does_not_fit_is_named():
    with pytest.raises(InputError, match="adapt: true"):
        Hint(adapt=False).meet(levels(4), levels(5))
    for knowledge in (Hint(), Attention(), IntraClass(), MeanFeatures()):
        with pytest.raises(InputError, match=r"the student has 2 levels of features, the teacher 1\. Name as many"):
            knowledge.meet(levels(4, 4), levels(4))


def test_mean_features_keep_their_channels(make_batch):
    batch, student, teacher = make_batch(3, ignored=0.0), levels(4), levels(4)
    gap = student.features[0].mean(dim=(2, 3)) - teacher.features[0].mean(dim=(2, 3))
    torch.testing.assert_close(MeanFeatures()(student, teacher, batch), gap.square().sum(dim=1).mean())


def test_mean_features_of_other_channels_go_through_a_projector_as_means_do(make_batch):
    batch, student, teacher = make_batch(3, ignored=0.3), levels(4, grows=True), levels(6)
    knowledge = MeanFeatures(adapt=True)
    assert not list(knowledge.parameters())  # a constructor draws nothing
    knowledge.meet(student, teacher)
    inside = batch.label[:, 1::2, 1::2] != IGNORE
    means = [torch.stack([x[b][:, inside[b]].mean(dim=1) for b in range(2)])
             for x in (student.features[0], teacher.features[0])]  # fmt: skip
    (project,) = knowledge.projectors
    gap = means[0] @ project.weight[:, :, 0, 0].T + project.bias - means[1]
    torch.testing.assert_close(knowledge(student, teacher, batch), gap.square().sum(dim=1).mean())
    with pytest.raises(InputError, match="or adapt: true"):
        MeanFeatures().meet(student, teacher)


@pytest.mark.parametrize("knowledge", [Attention(), IntraClass(), MeanFeatures(), Hint(adapt=False)])
def test_features_under_ignored_pixels_count_nothing(knowledge, make_batch):
    batch, student, teacher = make_batch(3, ignored=0.4), levels(4, grows=True), levels(4)
    knowledge.meet(student, teacher)
    (grad,) = torch.autograd.grad(knowledge(student, teacher, batch), student.features)
    hidden = batch.label[:, 1::2, 1::2] == IGNORE
    assert (grad.movedim(1, -1)[hidden] == 0).all() and (grad != 0).any()


@pytest.mark.parametrize(
    "knowledge",
    [Attention(), Hint(adapt=False), Hint(adapt=False, normalise=False), IntraClass(), MeanFeatures(), Affinity(),
     Prototypes(), StructuredAttention(), AttentionAcross(), TeacherFree()],
)  # fmt: skip
def test_features_in_half_precision_are_compared_in_single(knowledge, make_batch):
    """Squares, sums over positions and differences of near things would lose what the features still hold."""
    batch = make_batch(3, ignored=0.3)
    student = tuple((level / 4).bfloat16() for level in levels(4, 4).features)
    teacher = tuple((level + torch.randn_like(level) / 8).bfloat16() for level in student)
    knowledge.meet(Prediction(torch.zeros(2, 3, 32, 32), student), Prediction(torch.zeros(2, 3, 32, 32), teacher))
    found, exact = (
        knowledge(
            *(Prediction(torch.zeros(2, 3, 32, 32), tuple(map(wide, side))) for side in (student, teacher)), batch
        )
        for wide in (torch.Tensor.bfloat16, torch.Tensor.float)
    )
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)
