import pytest
import torch
import torch.nn.functional as F

from segkd.distill.knowledge.edges import below, drawn, grid_edges, grid_ends, nearest, nodes_at
from segkd.types import IGNORE


@pytest.mark.parametrize(("h", "w"), [(4, 5), (1, 6), (3, 1), (2, 2), (1, 1)])
def test_the_edges_of_a_grid_are_all_pairs_of_neighbours_once(h, w):
    places = [(i, j) for i in range(h) for j in range(w)]
    pairs = {
        (a[0] * w + a[1], b[0] * w + b[1])
        for a in places
        for b in places
        if a < b and max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1
    }
    assert grid_edges(h, w) == len(pairs)
    ends = grid_ends(torch.arange(len(pairs)).unsqueeze(0), h, w)
    found = [tuple(sorted(pair)) for pair in zip(*(one[0].tolist() for one in ends))]
    assert len(found) == len(pairs) and set(found) == pairs


def test_what_is_drawn_differs_and_any_number_may_come():
    chance = torch.rand(200, 7)
    numbers = drawn(40, chance)
    assert all(len(set(row)) == 7 for row in numbers.tolist())
    assert set(numbers.flatten().tolist()) == set(range(40))
    extremes = [drawn(40, torch.full((1, 7), one))[0].tolist() for one in (0.0, 1 - 2**-24)]
    assert extremes[0][0] == 0 and extremes[1][-1] == 39
    assert [a - 1 for a in extremes[0][1:]] == extremes[1][:-1]  # the parts meet, without gap or overlap
    assert drawn(7, chance[:1])[0].tolist() == list(range(7))  # all there are
    assert below(7, torch.tensor([0.0, 0.99, 1.0])).tolist() == [0, 6, 6]  # a product that was rounded up is no more


def test_neighbours_in_feature_space_are_the_closest():
    features, counts = torch.randn(2, 12, 3), torch.rand(2, 12) < 0.7
    counts[1] = False
    counts[1, :3] = True  # fewer than are asked for: others take the places, never the row itself
    found = nearest(features, counts, 4)
    for b in range(2):
        for i in range(12):
            others = [j for j in range(12) if j != i and counts[b, j]]
            order = sorted(others, key=lambda j: float((features[b, i] - features[b, j]).norm()))[:4]
            assert found[b, i, : len(order)].tolist() == order
            assert i not in found[b, i] and len(set(found[b, i].tolist())) == 4


def test_nodes_are_read_where_nearest_exact_reads_them():
    features, logits = torch.randn(2, 3, 4, 5), torch.randn(2, 2, 13, 17)
    label = torch.randint(0, 2, (2, 13, 17))
    nodes = nodes_at(torch.arange(20).repeat(2, 1), 1, features, logits, label)
    small = F.interpolate(logits, size=(4, 5), mode="nearest-exact")
    shrunk = F.interpolate(label.unsqueeze(1).float(), size=(4, 5), mode="nearest-exact")
    assert torch.equal(nodes.features, features.flatten(2).transpose(1, 2))
    assert torch.equal(nodes.logits, small.flatten(2).transpose(1, 2))
    assert torch.equal(nodes.label, shrunk[:, 0].flatten(1).long())


def test_a_region_is_the_mean_of_its_labelled_positions_and_has_a_class_where_they_agree():
    features, logits = torch.randn(1, 3, 5, 6), torch.randn(1, 2, 5, 6)
    label = torch.tensor([[[0, 0, 1, 1, 0, 0], [0, IGNORE, 1, 0, 0, 0], [1, 1, 0, 0, IGNORE, IGNORE],
                           [1, 1, 0, 0, IGNORE, IGNORE], [1, 1, 1, 1, 1, 1]]])  # fmt: skip
    nodes = nodes_at(torch.arange(6).unsqueeze(0), 2, features, logits, label)  # the last row is left over
    assert nodes.label.tolist() == [[0, IGNORE, 0, 1, 0, IGNORE]]
    for number in range(6):
        row, column = divmod(number, 3)
        inside = [
            (i, j) for i in (2 * row, 2 * row + 1) for j in (2 * column, 2 * column + 1) if label[0, i, j] != IGNORE
        ]
        for maps, found in ((features, nodes.features), (logits, nodes.logits)):
            mean = sum(maps[0, :, i, j] for i, j in inside) / len(inside) if inside else torch.zeros(maps.shape[1])
            torch.testing.assert_close(found[0, number], mean)
