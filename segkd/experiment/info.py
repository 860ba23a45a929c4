"""`segkd info`: what a run, a network or a configuration is and costs: layers, scores, data, recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from segkd.datasets.checks import refuse_size
from segkd.datasets.data import height_and_width
from segkd.experiment.about import facts_of
from segkd.experiment.arguments import ExampleHelp
from segkd.experiment.commands import TRUST
from segkd.experiment.console import make_console
from segkd.experiment.info_onnx import rows_of_onnx
from segkd.experiment.layers import found_layer
from segkd.experiment.scoring import opened
from segkd.experiment.settings import parse, training_parser
from segkd.models.complexity import complexity, latency
from segkd.models.network import Network, device_of
from segkd.models.taps import channels_last
from segkd.models.trust import imported
from segkd.types import InputError, printable

ABOUT = """What a run, an ONNX file, a network or a configuration is and costs: parameters, MACs, FLOPs, latency, layer
paths; of a run also its data, classes, scores and recipe. For example:

  segkd info runs/first
  segkd info FusionNet --model.encoder resnet18 --data.size 320
  segkd info SmpNet --model.architecture Unet --depth 3
  segkd info runs/first/student.onnx
  segkd info methods/mean_teacher.yaml"""


def info(arguments: list[str]) -> int:
    """`segkd info RUN|MODEL|CONFIG`: prints what it is and what it costs."""
    own, settings = _split(arguments)
    parser = ArgumentParser(prog="segkd info", description=ABOUT, exit_on_error=False, formatter_class=ExampleHelp)
    add = parser.add_argument
    add("target", type=str, metavar="RUN|FILE.onnx|MODEL|CONFIG", help="a run folder, an ONNX file, a network's name, "
        "or a layer")  # fmt: skip
    add("--depth", type=int, default=3, help="how deep the layers are listed; 0: none")
    add("--runs", type=int, default=30, help="forward passes that are timed")
    add("--trust", action="store_true", help=TRUST)
    config = parse(parser, own)
    if config.runs < 1:
        raise InputError(f"--runs: expected at least 1, found {config.runs}.")
    console, target = make_console(True), Path(config.target)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    finished = target.is_dir() or target.suffix.lower() == ".onnx"
    if finished and settings:
        raise InputError(f"{settings[0]} has no effect on a run, which is as it was trained: leave it out.")
    if target.suffix.lower() == ".onnx" and not target.is_dir():
        _say(console, rows_of_onnx(target, config.runs))
        return 0
    if finished:
        model = opened(target, device, config.trust, console)
        rows, network, size = facts_of(target, model.card), model.network, model.card.size
        if (target / "README.md").is_file():  # as pulled: it tells what the run's own records do
            rows["card"] = str(target / "README.md")
        rows["scores on val"] = ", ".join(f"{n} {v:.4f}" for n, v in model.card.scores.items() if v is not None)
    else:
        network, size = _built(config.target, settings)
        rows, network = {}, network.to(device).eval().to(memory_format=torch.channels_last)
    rows = {"network": type(network).__name__, **costs_of(network, size, config.runs), **rows}
    _say(console, rows)
    if config.depth > 0:
        _say_layers(console, network, size, config.depth)
    return 0


def _say(console: Console, rows: Mapping[str, str]) -> None:
    for name, text in rows.items():
        console.print(f"{name:<14} {text}")


def costs_of(network: Network, size: tuple[int, int], runs: int) -> dict[str, str]:
    """What one image of `size` costs a network in evaluation mode, in words."""
    device = device_of(network)
    image = torch.zeros(1, 3, *size, device=device)

    @torch.inference_mode()
    def look() -> None:
        network(image)
        if device.type == "cuda":
            torch.cuda.synchronize()

    threads = f", threads: {torch.get_num_threads()}" if device.type == "cpu" else ""
    spent = latency(look, runs)
    return {
        "cost": str(complexity(network, size)),
        "latency": f"{spent} of {runs} forward passes of one image on the {device.type}{threads}",
    }


def layers_of(network: Network, size: tuple[int, int], depth: int) -> list[tuple[str, str, int, str]]:
    """Path, class, parameters and outputs, such as 64 x 16x16, of every layer down to `depth` names.

    A layer without maps [b c h w] among its outputs, or one that is not run, has "" for them.
    """
    gave: dict[str, list[torch.Size]] = {}
    image = torch.zeros(1, 3, *size, device=device_of(network))

    def keep(path: str, output: object) -> None:
        given = list(output) if isinstance(output, list | tuple) else [output]
        maps = [one.shape for one in given if isinstance(one, Tensor) and one.ndim == 4]
        if len(maps) == len(given) > 0:
            gave[path] = maps

    chosen = [(path, one) for path, one in network.named_modules() if path and path.count(".") < depth]
    hooks = [one.register_forward_hook(lambda _m, _i, out, path=path: keep(path, out)) for path, one in chosen]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    said = {path: _maps_of(network, path, shapes, image) for path, shapes in gave.items()}
    return [
        (path, type(one).__name__, sum(p.numel() for p in one.parameters()), said.get(path, "")) for path, one in chosen
    ]


def _maps_of(network: Network, path: str, shapes: Sequence[torch.Size], image: Tensor) -> str:
    """Channels and sides of maps; "" where they are those of windows or the like."""
    try:
        orders = [channels_last(network, path, at, shape, image) for at, shape in enumerate(shapes)]
    except InputError:
        return ""
    turned = [(shape[3], *shape[1:3]) if last else shape[1:] for shape, last in zip(shapes, orders)]
    return ", ".join(f"{c} x {h}x{w}" for c, h, w in turned)


def _say_layers(console: Console, network: Network, size: tuple[int, int], depth: int) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for title in ("layer", "class"):
        table.add_column(title, no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("gives", overflow="fold")
    for path, kind, parameters, gave in layers_of(network, size, depth):
        table.add_row(Text(printable(path)), Text(kind), f"{parameters:,}", gave)
    console.print(
        f"\nlayers at {size[0]}x{size[1]}: optim.freeze takes any, distiller.features those that give maps (channels x "
        "height x width), and distiller.exits stand on these"
    )
    console.print(table)


def _built(target: str, settings: list[str]) -> tuple[Network, tuple[int, int]]:
    """The network that a layer, or a name and settings, describe, with random weights, and the size of its images."""
    layer = found_layer(target)
    if Path(layer).suffix in (".yaml", ".yml"):
        given = ["--config", layer]
    elif Path(layer).exists() or "/" in target:
        raise InputError(f"expected a run folder, a network's name or a layer (.yaml), found {target}.")
    else:
        given = ["--model", target]
    try:
        config = parse(training_parser(), [*given, *settings])
    except InputError as error:
        if not str(error).startswith("model: "):
            raise
        raise InputError(f"{target}: there is no such run folder or layer; taken for a network, {error}") from error
    size = height_and_width(config.data.size)
    refuse_size(size)
    kind: type[Network] = imported(config.model.class_path)
    built = kind.without_weights(config.model.init_args.as_dict() | {"classes": len(config.data.classes)})
    return kind(**built), size


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is meant for `segkd info`, and settings of the network and its data: --model.NAME and --data.NAME."""
    own: list[str] = []
    settings: list[str] = []
    for before, argument in zip(["", *arguments], arguments):
        begins = argument.startswith(("--model.", "--data."))
        follows = before.startswith(("--model.", "--data.")) and "=" not in before
        (settings if begins or follows else own).append(argument)
    return own, settings
