"""`ReusedHead`: a network that ends in the head of a finished run (SimKD)."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.network import Network
from segkd.models.store import load_model
from segkd.models.trust import imported, whole_name
from segkd.types import InputError, LayerPath, Prediction


@final
class ReusedHead(Network):
    """A network whose own head gives way to a projector and the head of a finished run, which does not learn (SimKD,
    Chen et al., CVPR 2022)::

        image -> network without its head -> projector: 1x1, 3x3, 1x1 -> the run's head, frozen -> logits

    Both stay at inference: its parameters and MACs are those of the network with them. The run is read when training
    begins; the student's file holds the head, and is opened without it. Departure: the projector works at the size of
    the student's last features, and the logits are enlarged; the paper pools both sides to the smaller size.

    Args:
        classes: number of classes, those of the run.
        run: run folder whose network gives its head.
        network: FusionNet, SmpNet, WrappedNet, or the import path of one's own.
        arguments: its arguments.
        shrink: how many times fewer channels than the head reads lie between the projector's convolutions.
        head: layer path of the head in the run's network, where that does not say it (WrappedNet: head_layer).
        donor: what the head is made of, for a network that is opened again; written when it is saved.
        trust: whether the run may name a class that is not segkd's own: its code runs with your rights.
    """

    def __init__(
        self,
        classes: int,
        run: LayerPath | None = None,
        network: str = "FusionNet",
        arguments: dict[str, Any] | None = None,
        shrink: int = 2,
        head: str | None = None,
        donor: dict[str, Any] | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        if shrink < 1:
            raise InputError(f"ReusedHead: shrink must be at least 1, found {shrink}.")
        # drawn first, so that arms of one seed begin with the same weights
        self.network = _built(network, arguments or {}, classes)
        self.run, self.donor, self.trust = run, donor, trust
        with torch.random.fork_rng(devices=[]):  # the run's network draws before it is filled
            given = self._taken(classes, head) if donor is None else _donated(donor, classes)
        path = self.network.head_path
        if path is None:
            raise InputError(
                f"ReusedHead: {network} does not say which layer is its head, in whose place the other comes. Write "
                "model.arguments.head_layer (WrappedNet), or head_path in a class of your own."
            )
        width = _read_by(given, f"the head of {run or 'the donor'}")
        projector = projecting(_read_by(self.network.layer(path), f"the head of {network}"), width, shrink)
        above, _, last = path.rpartition(".")
        owner = self.network.layer(above) if above else self.network
        setattr(owner, last, nn.Sequential(OrderedDict(projector=projector, head=given)))
        self.head_path = f"network.{path}.head"
        if self.network.encoder_path:
            self.encoder_path = f"network.{self.network.encoder_path}"
        self.freeze([])

    @classmethod
    def without_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments, nothing fetched for the network inside."""
        inner = _class_of(str(arguments.get("network", "FusionNet"))).without_weights(
            dict(arguments.get("arguments") or {})
        )
        return {**arguments, "arguments": inner}

    def rebuilt_by(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """As `without_weights`, with the head described instead of a run that holds it."""
        name = whole_name(str(arguments.get("network", "FusionNet")))
        described = {"network": name, "run": None, "head": None, "donor": self.donor, "trust": False}
        return self.without_weights(arguments) | described

    def freeze(self, paths: Any) -> None:
        """As every network's; the reused head is always among them."""
        super().freeze([*paths, str(self.head_path)])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Prediction:
        """What the network inside gives, its logits those of the reused head."""
        return self.network(image)

    def _taken(self, classes: int, head: str | None) -> nn.Module:
        """The head of the run's network, with its weights."""
        if self.run is None:
            raise InputError(
                "ReusedHead: run names no run folder, whose head is to be reused. Give the teacher's: --model.run "
                "runs/teacher."
            )
        model = load_model(self.run, trust=self.trust)
        if len(model.card.classes) != classes:
            raise InputError(
                f"ReusedHead: the head of {self.run} tells {len(model.card.classes)} classes apart "
                f"({', '.join(model.card.classes)}), and data.classes names {classes}. Choose a run with the same "
                "classes: its head is the student's."
            )
        path = head or model.network.head_path
        if path is None:
            raise InputError(
                f"ReusedHead: {type(model.network).__name__} of {self.run} does not say which layer is its head. Name "
                "it: model.head: path.of.the.layer (segkd info RUN lists them)."
            )
        self.donor = {"network": model.card.class_path, "arguments": dict(model.card.init_args), "head": path}
        return _last(model.network, path, classes)


def projecting(inputs: int, outputs: int, shrink: int) -> nn.Sequential:
    """1x1, 3x3, 1x1, each followed by BatchNorm and ReLU; outputs / shrink channels in the middle (SimKD's code)."""
    middle = max(outputs // shrink, 1)
    steps = [(inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1)]
    return nn.Sequential(
        *(
            part
            for a, b, side in steps
            for part in (nn.Conv2d(a, b, side, padding=side // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
        )
    )


def _donated(donor: Mapping[str, Any], classes: int) -> nn.Module:
    """A head of the shape that a card describes; its weights are in the student's file."""
    kind = _class_of(str(donor.get("network")))
    network = kind(**kind.without_weights(dict(donor.get("arguments") or {})))
    return _last(network, str(donor.get("head")), classes)


@torch.no_grad()
def _last(network: Network, path: str, classes: int) -> nn.Module:
    """The layer at `path`, which must make a plane for each class of its input."""
    head = network.eval().layer(path)
    made = head(torch.zeros(1, _read_by(head, path), 8, 8))
    if not isinstance(made, Tensor) or made.ndim != 4 or made.shape[1] != classes:
        found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise InputError(
            f"ReusedHead: expected layer {path!r} of {type(network).__name__} to give logits [b, {classes}, h, w], "
            f"found {found}. Name the layer that makes logits: model.head."
        )
    return head


def _read_by(head: nn.Module, owner: str) -> int:
    """The channels that a head reads."""
    first = next((part for part in head.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None:
        raise InputError(f"ReusedHead: expected {owner} to be made of convolutions, found {type(head).__name__}.")
    return first.in_channels


def _class_of(name: str) -> type[Network]:
    try:
        kind = imported(whole_name(name))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"ReusedHead: expected a network of segkd or an import path, found {name!r}: {error}."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Network)):
        raise InputError(f"ReusedHead: expected {name} to be a subclass of segkd.models.network.Network.")
    return kind


def _built(name: str, arguments: Mapping[str, Any], classes: int) -> Network:
    kind = _class_of(name)
    try:
        return kind(**{**arguments, "classes": classes})
    except TypeError as error:
        raise InputError(f"ReusedHead: the arguments {dict(arguments)} do not fit {name}: {error}.") from error
