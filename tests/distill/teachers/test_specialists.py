import pytest
import torch

from segkd.distill.teachers.specialists import (
    Specialists,
    chosen,
    collapsed,
    combined,
    confusion,
    groups_of,
    others_of,
    spread,
)
from segkd.losses import cross_entropy
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, load_model, save_student
from segkd.types import IGNORE, InputError, LayerPath
from tests.conftest import TINY
from tests.distill.teachers.stage import Tiny, met

GROUPS = [[0, 3], [1, 4]]  # class 2 has no specialist


@pytest.fixture
def run(tmp_path):
    """The folder of a run that knows three classes."""
    arguments = {"classes": 3, "encoder": TINY, "weights": None, "width": 8}
    card = ModelCard("segkd.models.network.FusionNet", arguments, ["a", "b", "c"], (32, 32))
    save_student(tmp_path, FusionNet(**arguments), card)
    return LayerPath(str(tmp_path))


def said(seed: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What a generalist and two specialists of five classes say at random pixels: log probabilities, and logits."""
    draw = torch.Generator().manual_seed(seed)
    general = (2 * torch.randn(1, 5, 4, 4, generator=draw)).double().log_softmax(dim=1)
    return general, [torch.randn(1, 3, 4, 4, generator=draw).double() for _ in GROUPS]


def descended(general: torch.Tensor, specials: list[torch.Tensor]) -> torch.Tensor:
    """Hinton's own way: q = softmax(z), by steps down the gradient of the sum of KL divergences, pixel by pixel."""
    z = torch.zeros_like(general, requires_grad=True)
    first = general.argmax(dim=1, keepdim=True)
    descent = torch.optim.LBFGS([z], lr=1.0, max_iter=400, tolerance_grad=1e-12, tolerance_change=1e-16,
                                line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> torch.Tensor:
        descent.zero_grad()
        q = z.log_softmax(dim=1)
        total = (general.exp() * (general - q)).sum()
        for special, group in zip(specials, GROUPS):
            own = special.log_softmax(dim=1)
            grouped = torch.cat([q[:, group], q[:, others_of(group, 5)].logsumexp(dim=1, keepdim=True)], dim=1)
            active = torch.stack([first == c for c in group]).any(dim=0)
            total = total + (active * own.exp() * (own - grouped)).sum()
        total.backward()
        return total

    descent.step(loss)
    return z.detach().log_softmax(dim=1)


def test_together_they_are_the_minimum_that_descent_finds():
    general, specials = said()
    closed = combined(general, [spread(one, general, group) for one, group in zip(specials, GROUPS)], GROUPS)
    torch.testing.assert_close(closed.exp(), descended(general, specials).exp(), atol=1e-6, rtol=0)
    torch.testing.assert_close(closed.exp().sum(dim=1), torch.ones(1, 4, 4).double())
    alone = general.argmax(dim=1) == 2
    assert alone.any() and torch.equal(closed.exp()[:, :, alone[0]], general.exp()[:, :, alone[0]])
    assert (closed - general).abs()[:, :, ~alone[0]].max() > 0.1


def test_a_specialist_learns_as_if_the_dustbin_were_a_class():
    general, (special, _) = said()
    special.requires_grad_()
    label = torch.randint(0, 5, (1, 4, 4))
    label[0, 0] = IGNORE
    valid = label != IGNORE
    whole = cross_entropy(spread(special, general, [0, 3]), label, valid)
    as_one = torch.tensor([0, 2, 2, 1, 2])[label.masked_fill(~valid, 0)].masked_fill(~valid, IGNORE)
    plain = cross_entropy(special, as_one, valid)
    torch.testing.assert_close(torch.autograd.grad(whole, special)[0], torch.autograd.grad(plain, special)[0])


def test_the_dustbin_of_a_generalist_is_the_log_sum_of_the_others():
    logits = torch.randn(2, 5, 3, 3)
    shares = logits.softmax(dim=1)
    small = collapsed(logits, [1, 4]).softmax(dim=1)
    torch.testing.assert_close(small, torch.cat([shares[:, [1, 4]], shares[:, [0, 2, 3]].sum(1, True)], dim=1))
    torch.testing.assert_close(spread(collapsed(logits, [1, 4]), logits.log_softmax(1), [1, 4]).exp(), shares)
    assert torch.equal(chosen(logits, [3, 0]), logits[:, [3, 0]])


def test_classes_that_are_predicted_together_become_a_group():
    """Classes 0 and 1 are large and sure; 2 and 3 are small and taken for each other, as are 4 and 5, less."""
    rows = torch.tensor([[1, 0, 0, 0, 0, 0]] * 50 + [[0, 1, 0, 0, 0, 0]] * 40 + [[0, 0, 0.6, 0.4, 0, 0]] * 3
                        + [[0, 0, 0.3, 0.7, 0, 0]] * 2 + [[0, 0, 0, 0, 0.9, 0.1], [0, 0, 0, 0, 0.2, 0.8]])  # fmt: skip
    pixels = rows.T.reshape(1, 6, -1, 1)
    together = confusion([pixels[:, :, :60], pixels[:, :, 60:]])
    slow = torch.stack([row.outer(row) for row in rows.double()]).sum(0)
    size = rows.double().sum(0)
    torch.testing.assert_close(together, slow / (size.outer(size)).sqrt())
    assert groups_of(together, 2) == [[2, 3], [4, 5]]
    covariance = torch.cov(rows.double().T)  # about the mean: the large classes drown the others
    assert covariance[2, 3] < -covariance[0, 1]
    assert groups_of(torch.eye(3), 2) == [], "what is never confused has no group"
    assert len(groups_of(torch.ones(3, 3), 2)) == 1 and groups_of(torch.ones(3, 3), 3) == [[0, 1, 2]]


def test_it_begins_as_the_run_and_only_the_heads_learn(run, make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Specialists([run]), student, batch)
    expected = load_model(run).network(batch.clean).logits.log_softmax(dim=1)
    lesson = teacher(batch, student(batch.image), student)
    torch.testing.assert_close(lesson.target.logits, expected)
    torch.testing.assert_close(teacher.alone()(batch.clean).logits, expected)
    assert {name.split(".")[0] for name in teacher.state_dict()} == {"heads"} and len(teacher.groups) == 1
    weights = [p.clone() for p in teacher.member[0].network.parameters()]
    descent, losses = torch.optim.Adam(teacher.parameters(), lr=0.05), []
    for _ in range(12):
        lesson = teacher(batch, student(batch.image), student)
        loss = sum(cross_entropy(own, batch.label, batch.valid) for own in lesson.own)
        descent.zero_grad()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0] and "1 on its features" in teacher.said[1]
    assert all(torch.equal(a, b) for a, b in zip(weights, teacher.member[0].network.parameters()))
    assert (lesson.target.logits - expected).abs().max() > 0.01


def test_one_head_of_all_classes_is_the_control(run, make_batch):
    teacher = met(Specialists([run], whole=True), Tiny(), make_batch(3))
    assert teacher.groups == [[0, 1, 2]] and teacher.heads[0].out_channels == 3


def test_what_cannot_be_is_refused(run, make_batch):
    with pytest.raises(InputError, match="two classes have one border, and"):
        met(Specialists([run]), Tiny(2), make_batch(2))
    for sources in ([], [run, run]):
        with pytest.raises(InputError, match="expected the folder of one run"):
            met(Specialists(sources), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="knows 3 classes"):
        met(Specialists([run]), Tiny(4), make_batch(4))
    with pytest.raises(InputError, match="at least 2, found 1"):
        Specialists([run], size=1)
