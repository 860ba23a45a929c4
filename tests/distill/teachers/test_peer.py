import torch

from segkd.distill.base import Scene
from segkd.distill.teachers.peer import Peer
from tests.distill.teachers.stage import Pointwise, Tiny, met


def test_a_peer_is_another_network_with_a_start_of_its_own(make_batch):
    batch, student = make_batch(3), Tiny()
    peer = met(Peer(), student, batch)
    assert isinstance(peer.network, Tiny)
    assert not torch.equal(peer.network.head.weight, student.head.weight)
    target = peer(batch, student(batch.image), student).target
    assert torch.equal(target.logits, peer.network(batch.image).logits)
    target.logits.mean().backward()
    assert all(p.grad is not None for p in (peer.network.head.weight, peer.network.first[0].weight))
    assert student.head.weight.grad is None


def test_layers_named_for_the_student_are_those_of_a_peer_of_its_kind_alone(make_batch):
    batch, student = make_batch(3), Tiny()
    scene = Scene(student, batch, student(batch.image), 4, Tiny, features=["second"])
    kin, other = Peer(), Peer(Tiny)
    for peer in (kin, other):
        peer.meet(scene)
    seen = [peer(batch, scene.seen, student).target.features for peer in (kin, other)]
    assert [[level.shape[1] for level in levels] for levels in seen] == [[6], [8, 6]]


def test_a_peer_of_another_kind_gets_the_number_of_classes(make_batch):
    peer = met(Peer(Pointwise, mutual=False), Tiny(), make_batch(3))
    assert isinstance(peer.network, Pointwise) and peer.network.mix.out_channels == 3
    assert peer.learns == {"label"} and Peer().learns == {"label", "student"}
