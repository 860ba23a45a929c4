"""One trained network looked at on one split, in one pass over the images: everything of `Evidence`."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.analysis.evidence import Condition, Evidence, Spectra
from segkd.analysis.features import aliasing, encoder_levels
from segkd.analysis.heatmap import WaveProbe
from segkd.analysis.learning import read_learning
from segkd.analysis.output import output_stride, planes, through_stride
from segkd.analysis.reliance import by_ring, changed, conditions, sensitivity
from segkd.datasets.data import Records
from segkd.datasets.loader import SegmentationDataset, evaluation_loader
from segkd.datasets.transforms import Transform
from segkd.engine.evaluate import count
from segkd.experiment.layers import read_layer
from segkd.frequency.rings import centred, power, ring_energy, ring_matrix
from segkd.metrics.boundary import WIDTHS, inside_label
from segkd.metrics.counts import ImageCounts, confusion, count_binary
from segkd.metrics.meter import Meter
from segkd.metrics.rows import BOUNDARY
from segkd.metrics.scores import iou, mean_iou
from segkd.models.enlarge import enlarge
from segkd.models.network import Network, device_of
from segkd.models.store import Model, load_model
from segkd.types import Batch, InputError

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Examination:
    """How runs are examined; the same for all of them.

    Attributes:
        images: how many of the split, spread evenly; all if it has fewer.
        batch_size: images per pass.
        workers: processes that read images.
        noise: root mean square of the noise added per band, in image units 0..1: strong enough to be taken for
            content (weak noise only shows where the network adds things up).
        wave: root mean square of a single wave, weak enough for the gradient to hold.
        seed: of probes and noise.
        heatmap: number of single waves of the optional check; 0 for none.
        trust: whether runs may name classes that are not segkd's own.
    """

    images: int = 64
    batch_size: int = 8
    workers: int = 0
    noise: float = 0.15
    wave: float = 0.005
    seed: int = 0
    heatmap: int = 0
    trust: bool = False

    @property
    def passes(self) -> int:
        """Forward passes per image without the heat map, a backward counted as two: the undisturbed image with its
        gradient, every condition, the untrained network with its gradient."""
        return 3 + len(conditions()) - 1 + 3


def examine(
    name: str,
    run: Path,
    records: Records,
    settings: Examination,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda n: None,
) -> Evidence:
    """The evidence of a run's best student on `records`; `advance(n)` is told of n more images."""
    start = time.perf_counter()
    model = load_model(run, device, settings.trust)
    look = _Look(model, untrained(model, settings.seed), settings)
    transform = Transform(model.card.size, None, len(model.card.classes), soft=False)
    dataset = SegmentationDataset(records, transform, 0)
    indices = records.spread(settings.images)
    loader = evaluation_loader(dataset, indices, settings.batch_size, settings.workers)
    for number, (batch, labels) in enumerate(loader):
        first = number * settings.batch_size
        look(batch.to(torch.device(device)), labels, indices[first : first + len(labels)])
        advance(len(labels))
    return look.evidence(name, run, time.perf_counter() - start)


def untrained(model: Model, seed: int) -> Network:
    """The same network with random weights; its batch norms then see noise once, or they would pass nothing on."""
    torch.manual_seed(seed)
    kind = type(model.network)
    device = device_of(model.network)
    network = kind(**kind.without_weights(model.card.init_args)).to(device).to(memory_format=torch.channels_last)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean of all that is seen
    with torch.no_grad():
        network.train()(torch.rand(8, 3, *model.card.size, generator=torch.Generator().manual_seed(seed)).to(device))
    return network.eval()


class _Look:
    """Gathers, batch by batch, what `Evidence` holds."""

    def __init__(self, model: Model, blank: Network, settings: Examination) -> None:
        self.model, self.blank, self.settings = model, blank, settings
        self.classes, self.size = len(model.card.classes), model.card.size
        for network in (model.network, blank):
            network.requires_grad_(False)  # gradients of the image are enough
        self.stride = output_stride(model.network, self.classes, self.size)
        self.matrix = ring_matrix(*self.size)
        self.ids: list[str] = []
        self.columns: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        self.maps: dict[str, Tensor] = {}
        self.meters = {condition: Meter(model.card.classes) for condition in conditions()}
        self.levels: list[list[np.ndarray]] = []
        self.strides: list[int] = []
        self.waves = (
            WaveProbe(self.size, settings.heatmap, settings.wave, self._first_score) if settings.heatmap else None
        )

    def __call__(self, batch: Batch, labels: Sequence[np.ndarray], indices: Sequence[int]) -> None:
        seeds = [self.settings.seed * 1_000_003 + index for index in indices]
        self.ids += batch.ids
        with encoder_levels(self.model.network) as levels:
            found = sensitivity(self.model.network, batch.image, batch.label, seeds)
            self._take_levels(aliasing(levels, self.size))
        blank = sensitivity(self.blank, batch.image, batch.label, seeds)
        self._take("sensitivity", by_ring(found.power, self.size[1]))
        self._take("untrained_sensitivity", by_ring(blank.power, self.size[1]))
        self._take("margin", found.margin)
        self._take("untrained_margin", blank.margin)
        self._take("dct", found.dct)
        self._add("sensitivity", found.power)
        self._add("untrained_sensitivity", blank.power)
        self._compare(batch, found.logits, blank.logits)
        self._outlines(found.logits, labels)
        self._score(Condition("clean"), batch.ids, found.logits, labels)
        for condition in conditions()[1:]:
            with torch.inference_mode():
                seen = changed(batch.image, condition, self.settings.noise, seeds)
                logits = self.model.network(seen).logits.float()
            self._score(condition, batch.ids, logits, labels)
        if self.waves is not None:
            self.waves.measure(self.model.network, batch, found.logits, found.power, seeds)

    def evidence(self, name: str, run: Path, seconds: float) -> Evidence:
        """What all batches gave."""
        tables = {key: np.concatenate(values) for key, values in self.columns.items()}
        maps = {key: (total / len(self.ids)).cpu().numpy() for key, total in self.maps.items()}
        for key in ("", "untrained_"):  # relative to the margin, which scales with the logits
            maps[f"{key}sensitivity"] = maps[f"{key}sensitivity"] / max(float(tables[f"{key}margin"].mean()), TINY)
        spectra = Spectra(**maps)
        names = ("f_mean", "miou_image") if self.classes == 2 else ("miou_image",)
        rows = {condition: meter.rows for condition, meter in self.meters.items()}
        shares = [np.concatenate(level) for level in self.levels]
        levels = tuple((f"level {i + 1}", s, share) for i, (s, share) in enumerate(zip(self.strides, shares)))
        return Evidence(
            name=name,
            run=run,
            seed=seed_of(run),
            classes=tuple(self.model.card.classes),
            size=self.size,
            stride=self.stride,
            ids=tuple(self.ids),
            energy={key.removeprefix("energy/"): table for key, table in tables.items() if key.startswith("energy/")},
            sensitivity=tables["sensitivity"],
            untrained_sensitivity=tables["untrained_sensitivity"],
            margin=tables["margin"],
            untrained_margin=tables["untrained_margin"],
            dct=tables["dct"] / max(float(tables["margin"].mean()), TINY),
            scores={key: {c: np.array([row[id][key] for id in self.ids]) for c, row in rows.items()} for key in names},
            boundary=np.array([[rows[Condition("clean")][id][key] for key in BOUNDARY] for id in self.ids]),
            interior=tables["interior"],
            aliasing=levels,
            spectra=spectra,
            learning=read_learning(run),
            heatmap=self.waves.result() if self.waves is not None else None,
            noise=self.settings.noise,
            forwards=float(self.settings.passes + (len(self.waves.places) if self.waves is not None else 0)),
            seconds=seconds,
            notes=()
            if levels
            else ("No encoder levels to look at: the network names no encoder, or it gives no list.",),
        )

    def _compare(self, batch: Batch, logits: Tensor, blank: Tensor) -> None:
        """Energies by band of image, label, prediction and errors."""
        shown, truth = planes(logits.softmax(dim=1), batch.label)
        guess, _ = planes(blank.softmax(dim=1), batch.label)
        valid = batch.valid.unsqueeze(1)
        fields = {
            "image": batch.image,
            "label": truth,
            "prediction": shown,
            "error": shown - truth,
            "ceiling": (through_stride(truth, self.stride) - truth) * valid,
            "untrained": guess - truth,
        }
        for key, field in fields.items():
            seen = field if key == "image" else centred(field, valid)
            self._take(f"energy/{key}", ring_energy(seen, self.matrix).sum(dim=1))
            if key in ("image", "label", "prediction", "error"):
                self._add(key, power(field).sum(dim=1))

    def _outlines(self, logits: Tensor, labels: Sequence[np.ndarray]) -> None:
        """IoU inside of regions, at each distance from the label's outlines."""
        for one, label in zip(logits, labels):
            classes = self._decided(enlarge(one, label.shape))
            matrices = [confusion(classes, inside_label(label, width), self.classes) for width in WIDTHS]
            self.columns["interior"].append(np.array([[self._iou(matrix) for matrix in matrices]]))

    def _decided(self, full: np.ndarray) -> np.ndarray:
        return (full >= self.model.card.threshold).astype(np.uint8) if self.classes == 2 else full

    def _score(self, condition: Condition, ids: Sequence[str], logits: Tensor, labels: Sequence[np.ndarray]) -> None:
        for id, one, label in zip(ids, logits, labels):
            whole = condition.kind == "clean"  # outlines are looked at once
            self.meters[condition].add(id, self._counted(one, label, whole))

    def _counted(self, logits: Tensor, label: np.ndarray, whole: bool) -> ImageCounts:
        if whole:
            return count(logits, label, self.model.card.threshold)
        full = enlarge(logits, label.shape)
        if self.classes == 2:
            return count_binary(full, label, self.model.card.threshold, depth="curves")
        return ImageCounts(confusion(full, label, self.classes), None, 0.0)

    def _first_score(self, logits: Tensor, batch: Batch) -> np.ndarray:
        """`_iou` of each image at the network's size."""
        values = []
        for one, label in zip(logits, batch.label.cpu().numpy().astype(np.uint8)):
            values.append(self._iou(confusion(self._decided(enlarge(one, label.shape)), label, self.classes)))
        return np.array(values)

    def _iou(self, matrix: np.ndarray) -> float:
        """Of the foreground for two classes, else the mean."""
        return float(iou(matrix)[1]) if self.classes == 2 else mean_iou(matrix)

    def _take(self, key: str, values: Tensor) -> None:
        self.columns[key].append(values.double().cpu().numpy())

    def _add(self, key: str, maps: Float[Tensor, "b h k"]) -> None:
        total = maps.double().sum(dim=0).cpu()
        self.maps[key] = self.maps[key] + total if key in self.maps else total

    def _take_levels(self, found: Sequence[tuple[int, Tensor]]) -> None:
        self.strides = [stride for stride, _ in found]
        self.levels = self.levels or [[] for _ in found]
        for kept, (_, share) in zip(self.levels, found):
            kept.append(share.cpu().numpy())


def seed_of(run: Path) -> int:
    """The seed in a run's config.yaml; 0 where there is none."""
    try:
        seed = read_layer(run / "config.yaml").get("seed", 0)
    except InputError:
        return 0
    return seed if isinstance(seed, int) else 0
