import copy
import shutil

import pytest
import torch
from torch import nn

from segkd.models.complexity import complexity
from segkd.models.fusion import FusionNet
from segkd.models.reused import ReusedHead, projecting
from segkd.models.smp import SmpNet
from segkd.models.store import ModelCard, load_model, save_student
from segkd.models.taps import tapped
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError, LayerPath
from tests.conftest import TINY

FUSION = {"encoder": TINY, "weights": None, "width": 32}
SMP = {"architecture": "FPN", "encoder": TINY, "weights": None}
INNER = {"FusionNet": FUSION | {"width": 16}, "SmpNet": SMP}


@pytest.fixture
def run(tmp_path):
    """A function that saves a network as a run: (network's class, classes, arguments) -> folder."""

    def make(kind=FusionNet, classes=3, **arguments) -> LayerPath:
        arguments = {"classes": classes, **(arguments or FUSION)}
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        names = [f"c{i}" for i in range(classes)]
        path = f"{kind.__module__}.{kind.__qualname__}"
        save_student(folder, kind(**arguments), ModelCard(path, arguments, names, (32, 32)))
        return LayerPath(str(folder))

    return make


def reused(run: LayerPath, inner: str = "FusionNet", **more) -> ReusedHead:
    return ReusedHead(3, run, inner, INNER[inner], **more)


@pytest.mark.parametrize("inner", ["FusionNet", "SmpNet"])
@pytest.mark.parametrize(("kind", "arguments"), [(FusionNet, FUSION), (SmpNet, SMP)])
def test_the_prediction_is_the_run_s_head_of_projected_features(run, inner, kind, arguments):
    source, image = run(kind, **arguments), torch.rand(2, 3, 40, 64)
    network = reused(source, inner).eval()
    theirs = load_model(source).network.layer("head")
    assert all(torch.equal(a, b) for a, b in zip(network.layer("head").parameters(), theirs.parameters(), strict=True))
    seen = tapped(network, image, ["head:in"])
    assert seen.features[0].shape[1] == next(p for p in theirs.parameters()).shape[1] and seen.features[0].min() >= 0
    logits = theirs(seen.features[0])
    if inner == "SmpNet":  # images are padded to a multiple of 32, and the logits cropped
        logits = nn.functional.interpolate(logits, (64, 64), mode="bilinear")[..., :40, :]
    expected = nn.functional.interpolate(logits, (40, 64), mode="bilinear")
    torch.testing.assert_close(seen.logits, expected)


def test_the_head_does_not_learn_and_all_else_does(run):
    network = reused(run())
    network.freeze(["encoder"])
    network.freeze([])  # what a training says; its own head is always among them
    assert not any(p.requires_grad for p in network.layer("head").parameters())
    assert not network.train().layer("head").training
    network(torch.rand(2, 3, 32, 32)).logits.square().mean().backward()
    learning = [p for name, p in network.named_parameters() if "head.head" not in name and "encoder" not in name]
    assert all(p.grad is not None for p in learning) and len(learning) > 50
    assert network.layer("encoder") is network.network.encoder and network.encoder_path == "network.encoder"


def test_beside_the_head_it_starts_as_the_network_alone_and_draws_no_more_with_a_larger_donor(run):
    small, large = run(), run(SmpNet, **SMP)
    drawn = []
    for source in (None, small, large):
        torch.manual_seed(5)
        network = FusionNet(3, **INNER["FusionNet"]) if source is None else reused(source).network
        drawn.append({name: part for name, part in network.state_dict().items() if not name.startswith("head.")})
    assert all(torch.equal(drawn[0][name], other[name]) for other in drawn[1:] for name in drawn[0])


def test_projector_and_head_count(run):
    source, size = run(), (32, 32)
    plain, network = FusionNet(3, **INNER["FusionNet"]), reused(source)
    c = network.layer("head").in_channels
    slim, middle = plain.head.in_channels, c // 2
    weights = slim * middle + 9 * middle**2 + middle * c
    norms = 2 * (middle + middle + c)
    ours, theirs = complexity(network, size), complexity(plain, size)
    assert ours.parameters - theirs.parameters == weights + norms + (c - slim) * 3
    assert ours.macs - theirs.macs == (weights + (c - slim) * 3) * 16 * 16  # at stride 2
    assert ours.parameters - ours.trainable == c * 3 + 3


@pytest.mark.parametrize("inner", ["FusionNet", "SmpNet"])
def test_its_file_is_opened_without_the_run_and_nothing_is_fetched(run, tmp_path, inner):
    source, image = run(), torch.rand(1, 3, 32, 32)
    said = {"classes": 3, "run": source, "network": inner, "arguments": INNER[inner]}
    network = ReusedHead(**said).eval()
    rebuilt = network.rebuilt_by(said | {"arguments": said["arguments"] | {"weights": "hub"}})
    assert rebuilt["run"] is None and rebuilt["arguments"]["weights"] is None
    (tmp_path / "student").mkdir()
    card = ModelCard("segkd.models.reused.ReusedHead", rebuilt, ["c0", "c1", "c2"], (32, 32))
    save_student(tmp_path / "student", network, card)
    shutil.rmtree(source)
    loaded = load_model(tmp_path / "student").network
    torch.testing.assert_close(loaded(image).logits, network(image).logits)
    again = load_model(tmp_path / "student").card.init_args
    assert loaded.rebuilt_by(again) == again  # and its head may be handed on
    assert torch.equal(reused(LayerPath(str(tmp_path / "student"))).layer("head").weight, network.layer("head").weight)


def test_a_copy_shares_nothing(run):
    network = reused(run())
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.layer("head").weight.zero_()
    assert network.layer("head").weight.abs().sum() > 0 and twin.layer("head") is twin.network.head.head


def test_a_projector_is_three_convolutions_with_normalisation(run):
    parts = [
        (p.in_channels, p.out_channels, p.kernel_size[0]) for p in projecting(7, 12, 3) if isinstance(p, nn.Conv2d)
    ]
    assert parts == [(7, 4, 1), (4, 4, 3), (4, 12, 1)]
    assert projecting(7, 1, 2)[0].out_channels == 1  # never none


def test_what_does_not_fit_is_named(run):
    wrapped = run(WrappedNet, network="tests.models.test_taps.Plain", arguments={"classes": 3})
    refused = [
        (lambda: ReusedHead(3), "Give the teacher's: --model.run"),
        (lambda: ReusedHead(2, run(), arguments=INNER["FusionNet"]), r"tells 3 classes apart \(c0, c1, c2\), and data"),
        (lambda: reused(run(), head="mix"), r"expected layer 'mix' of FusionNet to give logits \[b, 3, h, w\], found"),
        (lambda: reused(run(), head="heed"), "no layer 'heed'"),
        (lambda: reused(run(), shrink=0), "shrink must be at least 1"),
        (lambda: reused(wrapped), "--trust"),
        (lambda: reused(wrapped, trust=True), "which layer is its head"),  # it was opened
        (lambda: ReusedHead(3, run(), "FussionNet"), "expected a network of segkd or an import path"),
        (lambda: ReusedHead(3, run(), "torch.nn.Conv2d"), r"subclass of segkd\.models\.network\.Network"),
        (lambda: ReusedHead(3, run(), "FusionNet", {"wide": 3}), "do not fit FusionNet"),
        (
            lambda: ReusedHead(3, run(), "WrappedNet", {"network": "tests.models.test_taps.Plain",
                                                        "arguments": {"classes": 3}}),
            r"does not say which layer is its head.*model\.arguments\.head_layer",
        ),
    ]  # fmt: skip
    for make, said in refused:
        with pytest.raises(InputError, match=said):
            make()


def test_a_donor_that_does_not_name_its_head_is_told_where_it_is(run):
    torchvision = {"network": "torchvision.models.segmentation.lraspp_mobilenet_v3_large", "arguments":
                   {"weights": None, "weights_backbone": None, "num_classes": "$classes"}}  # fmt: skip
    source = run(WrappedNet, **torchvision)
    with pytest.raises(InputError, match=r"WrappedNet of .* does not say .* its head\. Name it: model\.head"):
        reused(source)
    assert reused(source, head="network.classifier.low_classifier").layer("head").in_channels == 40
