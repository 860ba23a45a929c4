import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from segkd.distill.base import Scene, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.edges import grid_edges
from segkd.distill.knowledge.graph import GraphEdges, Mixer, agreement, contrast, degree_weights, label_level
from segkd.distill.teachers.label import LabelTeacher
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, InputError, Prediction
from tests.distill.knowledge.maps import softmax

GRAPHS = ("grid8", "region", "knn", "random", "self")
NEGATIVES = ("uniform", "cross_boundary")


def scene(classes=3, size=(6, 5), scale=2, ignored=0.2, seed=0, b=2) -> tuple[Prediction, Batch]:
    """A prediction that asks for gradients, its logits `scale` times as large as its features."""
    draw = torch.Generator().manual_seed(seed)
    full = (size[0] * scale, size[1] * scale)
    logits = torch.randn(b, classes, *full, generator=draw).requires_grad_()
    features = torch.randn(b, 4, *size, generator=draw).requires_grad_()
    coarse = torch.rand(b, classes, 2, 2, generator=draw)
    label = nn.functional.interpolate(coarse, size=full, mode="bilinear").argmax(dim=1)
    label[torch.rand(label.shape, generator=draw) < ignored] = IGNORE
    image = torch.zeros(b, 3, *full)
    return Prediction(logits, (features,)), Batch(image, image, label, None, tuple("abcdefgh"[:b]))


def met(seen: Prediction, **settings) -> GraphEdges:
    torch.manual_seed(4)
    knowledge = GraphEdges(**settings)
    knowledge.meet(seen, seen)
    return knowledge


def edge_by_edge(knowledge: GraphEdges, seen: Prediction, batch: Batch, pairs: list[tuple[int, int]]) -> float:
    """The loss over the edges `pairs` of every image, one direction after the other, in double precision."""
    (_, w), scale = seen.features[0].shape[-2:], seen.logits.shape[-1] // seen.features[0].shape[-1]
    x, y = (one.detach().double().numpy() for one in (seen.features[0], seen.logits))
    project, attend = (
        0.01 * one.weight.detach().double().numpy() for one in (knowledge.mix.project, knowledge.mix.attend)
    )
    layers = [
        (one.weight.detach().double().numpy(), one.bias.detach().double().numpy()) for one in knowledge.second[::2]
    ]

    def second(one):
        hidden = layers[0][0] @ one + layers[0][1]
        return layers[1][0] @ np.where(hidden > 0, hidden, 0.01 * hidden) + layers[1][1]

    def normal(one):
        return (one - one.mean()) / np.sqrt(one.var() + 1e-5)

    near, apart, wrong, drawn, kept = [], [], [], [], []
    for b in range(len(x)):
        for i, j in [*pairs, *[(j, i) for i, j in pairs]]:
            xs, ys, labels = [], [], []
            for node in (i, j):
                row, column = divmod(node, w)
                at = (scale * row + scale // 2, scale * column + scale // 2)
                xs.append(x[b, :, row, column])
                ys.append(y[b, :, at[0], at[1]])
                labels.append(int(batch.label[b, at[0], at[1]]))
            drawn += [labels[0]] * (labels[0] != IGNORE)
            if IGNORE in labels:
                continue
            if labels[0] != labels[1]:
                apart.append(-np.mean((softmax(ys[0]) - softmax(second(xs[1]))) ** 2))
                continue
            share = knowledge.ratio + (1 - knowledge.ratio) / (
                1 + math.exp(-(attend @ np.concatenate([normal(project @ xs[1]), normal(project @ xs[0])]))[0])
            )
            z = second(xs[0] if knowledge.graph == "self" else share * xs[1] + (1 - share) * xs[0])
            kept.append(labels[0])
            near.append(np.mean((ys[0] - z) ** 2))
            wrong.append((labels[0], -math.log(softmax(z)[labels[0]])))
    weights = {c: drawn.count(c) / kept.count(c) for c in set(kept)}
    total = sum(weights[c] for c, _ in wrong)
    crossed = sum(weights[c] * one for c, one in wrong) / total
    return knowledge.feature * (np.mean(near) + np.mean(apart)) + knowledge.label * crossed


@pytest.mark.parametrize(("graph", "feature"), [("grid8", 0.7), ("self", 0.0)])
def test_over_the_whole_grid_it_is_the_formula_edge_by_edge(graph, feature):
    """The control, a second head with cross-entropy alone, counts at the ends of the same edges."""
    seen, batch = scene()
    edges = grid_edges(6, 5)
    knowledge = met(seen, graph=graph, edges=edges, negatives="cross_boundary", ratio=0.6, feature=feature, label=1.3)
    places = list(itertools.product(range(6), range(5)))
    pairs = [
        (a[0] * 5 + a[1], b[0] * 5 + b[1])
        for a, b in itertools.combinations(places, 2)
        if max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
    ]
    found = knowledge(seen, seen.detached(), batch).item()
    assert found == pytest.approx(edge_by_edge(knowledge, seen, batch, pairs), rel=1e-4)


def test_uniform_negatives_are_positions_of_the_image_with_a_class(monkeypatch):
    seen, batch = scene(b=1)
    knowledge = met(seen, edges=grid_edges(6, 5), label=0.0, mixer="fixed", ratio=1.0)
    for node in range(30):
        monkeypatch.setattr(torch, "rand", lambda *shape, device, node=node: torch.full(shape, (node + 0.5) / 30))
        row, column = divmod(node, 5)
        inside = batch.label[0, 2 * row + 1, 2 * column + 1] != IGNORE
        far = knowledge.second(seen.features[0][0, :, row, column]).detach().softmax(dim=0)
        with_far = knowledge(seen, seen.detached(), batch).item()
        monkeypatch.setattr("segkd.distill.knowledge.graph.contrast", lambda *_: 0.0)
        alone = knowledge(seen, seen.detached(), batch).item()
        monkeypatch.undo()
        labels, ys = batch.label[0, 1::2, 1::2], seen.logits.detach()[0, :, 1::2, 1::2].softmax(dim=0)
        gaps = []
        for i, j in itertools.permutations(range(30), 2):
            (a, b), (c, d) = divmod(i, 5), divmod(j, 5)
            if max(abs(a - c), abs(b - d)) == 1 and labels[a, b] == labels[c, d] != IGNORE:
                gaps.append(float((ys[:, a, b] - far).square().mean()))
        assert with_far - alone == pytest.approx(-np.mean(gaps) if inside else 0.0, rel=1e-3, abs=1e-6)


def test_weights_give_classes_with_long_boundaries_their_share_back():
    label = torch.tensor([[0, 0, 0, 1, 1, 2, IGNORE]])
    kept = torch.tensor([[True, True, True, True, False, False, False]])
    torch.testing.assert_close(degree_weights(label, kept, 4), torch.tensor([1.0, 2.0, 0.0, 0.0]))
    logits = torch.randn(1, 7, 4)
    each = [nn.functional.cross_entropy(logits[:, i], label[:, i]).item() for i in range(4)]
    assert float(label_level(logits, label, kept)) == pytest.approx((each[0] + each[1] + each[2] + 2 * each[3]) / 5)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_positives_never_cross_a_boundary_of_the_label(graph, negatives):
    """Logits of +-1000 that both heads agree on within a class: one edge across would cost a million."""
    label = (torch.arange(24) >= 10).long().expand(2, 24, 24).contiguous()
    label[0, 5:9, 5:9] = IGNORE
    side = (2.0 * (torch.arange(24) >= 10) - 1).expand(2, 1, 24, 24)
    seen = Prediction(torch.cat([-1000 * side, 1000 * side], dim=1), (side[:, :, ::2, ::2].contiguous(),))
    image = torch.zeros(2, 3, 24, 24)
    knowledge = met(seen, graph=graph, edges=40, cell=2, negatives=negatives, label=0.0)
    knowledge.second = nn.Linear(1, 2)
    nn.init.zeros_(knowledge.second.bias)
    knowledge.second.weight.data.copy_(torch.tensor([[-1000.0], [1000.0]]))
    assert -1 <= knowledge(seen, seen, Batch(image, image, label, None, ("a", "b"))).item() <= 1e-3
    if graph not in ("self", "knn"):  # which join like with like whatever the label
        one = torch.zeros_like(label)
        assert knowledge(seen, seen, Batch(image, image, one, None, ("a", "b"))).item() > 1000


def test_pushing_apart_has_a_bound_and_agreeing_has_none():
    where = torch.ones(1, 5, dtype=torch.bool)
    y = 1e4 * torch.randn(1, 5, 3)
    assert -2 / 3 * (1 + 1e-6) <= float(contrast(y, -y, where)) < -0.5
    assert float(agreement(y, -y, where)) > 1e6


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_both_heads_features_and_mixing_learn_and_ignored_pixels_do_not(graph, negatives):
    seen, batch = scene(size=(8, 8))
    knowledge = met(seen, graph=graph, edges=20, cell=2, negatives=negatives)
    wanted = [seen.logits, seen.features[0], *knowledge.parameters()]
    grads = torch.autograd.grad(knowledge(seen, seen.detached(), batch), wanted)
    assert (grads[0].movedim(1, -1)[batch.label == IGNORE] == 0).all()
    for grad in grads if graph != "self" else [*grads[:6]]:  # nothing is mixed with itself
        assert grad.isfinite().all() and grad.norm() > 0


@pytest.mark.parametrize("graph", GRAPHS)
def test_features_of_ignored_positions_decide_nothing(graph):
    seen, batch = scene(size=(8, 8), scale=1)
    knowledge, values = met(seen, graph=graph, edges=20, cell=2), []
    for fill in (0.0, 30.0):
        torch.manual_seed(1)
        other = seen.features[0].masked_fill((batch.label == IGNORE).unsqueeze(1), fill)
        values.append(knowledge(Prediction(seen.logits, (other,)), seen, batch).item())
    assert values[0] == values[1]


def test_the_gradient_of_logits_and_features_is_that_of_differences():
    seen, batch = scene(size=(3, 3), b=1)
    knowledge = met(seen, edges=grid_edges(3, 3), negatives="cross_boundary")
    grads = torch.autograd.grad(knowledge(seen, seen.detached(), batch), [seen.logits, seen.features[0]])
    for which, grad in enumerate(grads):
        step = torch.randn_like(grad)
        sides = []
        for sign in (1, -1):
            logits, features = seen.logits.detach(), seen.features[0].detach()
            moved = [one + sign * 1e-3 * step if at == which else one for at, one in enumerate((logits, features))]
            sides.append(knowledge(Prediction(moved[0], (moved[1],)), seen, batch).item())
        assert (sides[0] - sides[1]) / 2e-3 == pytest.approx(float((grad * step).sum()), rel=0.02)


def test_the_mixing_stays_within_its_ratio_and_learns_at_a_hundredth_of_the_rate():
    torch.manual_seed(0)
    mixer = Mixer(4, 0.7)
    own, neighbour = torch.zeros(1, 50, 4), torch.ones(1, 50, 4) * torch.randn(1, 50, 1)
    share = mixer(own, neighbour) / neighbour
    assert (share >= 0.7).all() and (share <= 1).all()
    before = [0.01 * p.detach().clone() for p in mixer.parameters()]
    optimizer = torch.optim.Adam(mixer.parameters(), lr=0.1)
    mixer(torch.randn(1, 50, 4), torch.randn(1, 50, 4)).square().sum().backward()
    optimizer.step()
    for old, new in zip(before, mixer.parameters()):
        torch.testing.assert_close((0.01 * new - old).abs(), torch.full_like(old, 0.001), rtol=0.01, atol=0)


def kept_bytes(size: tuple[int, int], graph: str, edges: int) -> int:
    """What a loss keeps for its gradient, beside the network's own maps."""
    seen, batch = scene(size=size)
    knowledge, kept = met(seen, graph=graph, edges=edges, cell=2), {}
    own = {one.untyped_storage().data_ptr() for one in (seen.logits, *seen.features, *knowledge.parameters())}

    def keep(one):
        storage = one.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        loss = knowledge(seen, seen.detached(), batch)
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("graph", GRAPHS)
def test_memory_grows_with_the_edges_and_not_with_the_image(graph):
    small, large = kept_bytes((16, 16), graph, 32), kept_bytes((64, 64), graph, 32)
    assert large == small
    assert 1.8 * small < kept_bytes((64, 64), graph, 64) < 2.2 * small


def test_draws_follow_the_seed():
    seen, batch = scene(size=(12, 12))
    for graph in GRAPHS:
        knowledge, values = met(seen, graph=graph, edges=16, cell=2), []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            values.append(knowledge(seen, seen.detached(), batch).item())
        assert values[0] == values[2] != values[1]


def test_nothing_with_a_class_costs_nothing_and_everybody_has_a_gradient():
    seen, batch = scene(ignored=1.1)
    knowledge = met(seen, edges=10)
    loss = knowledge(seen, seen.detached(), batch)
    grads = torch.autograd.grad(loss, [seen.logits, seen.features[0], *knowledge.parameters()])
    assert loss == 0 and all((grad == 0).all() for grad in grads)


class Plain(Network):
    """Logits of 8 x 8 positions, with features or without."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels, self.head = levels, nn.Conv2d(3, 2, 1)

    def forward(self, image):
        return Prediction(self.head(image), (image,) * self.levels)


def meeting(levels: int, **settings) -> None:
    _, batch = scene(2, (8, 8), 1)
    student = Plain(levels)
    distiller = Distiller(terms={"graph": Term(GraphEdges(**settings))})
    distiller.meet(Scene(student, batch, student(batch.image), 1, lambda: Plain(levels)))


def test_what_does_not_fit_is_named_with_what_to_write():
    with pytest.raises(InputError, match=r"terms.graph \(GraphEdges\) reads features, but there are none. Name layers"):
        meeting(0)
    with pytest.raises(
        InputError, match=r"edges: 211 .* \(grid8: 8 x 8 positions\) has 210. Write edges: 210 or fewer"
    ):
        meeting(1, edges=211)
    with pytest.raises(
        InputError, match=r"4 x 4 regions of 2 x 2 positions\) has 42. Write edges: 42 or fewer, a smaller"
    ):
        meeting(1, graph="region", cell=2)
    with pytest.raises(InputError, match=r"knn: 8 x 8 positions.* has 128"):
        meeting(1, graph="knn", edges=129)
    with pytest.raises(InputError, match="leave out its teacher, found 'label'"):
        Distiller(teachers={"label": LabelTeacher()}, terms={"graph": Term(GraphEdges(), teacher="label")})
    for wrong in ({"edges": 0}, {"cell": 1}, {"graph": "knn", "edges": 5}, {"ratio": 1.5}, {"feature": -1.0},
                  {"feature": 0.0, "label": 0.0}):  # fmt: skip
        with pytest.raises(InputError, match="GraphEdges: "):
            GraphEdges(**wrong)


def test_a_teacher_beside_it_has_terms_of_its_own():
    """The only teacher of a recipe is nobody that the graph would listen to."""
    from segkd.distill.knowledge.response import Response

    terms = {"graph": Term(GraphEdges()), "response": Term(Response())}
    assert Distiller(teachers={"label": LabelTeacher()}, terms=terms).teacher_of == {"graph": None, "response": "label"}
