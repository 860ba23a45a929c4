"""Run folders that name code, hold code, or hold pickles; each would leave a file if it ran."""

import json
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

Payload = Callable[[Path, Path], None]
"""What prepares a run folder: (run, the file that the code would leave)."""

WRAPPED = "segkd.models.network.WrappedNet"


class Trap:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.command = f"touch {mark}"

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def edit_card(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the model card in model.json and beside the weights, with a digest that is right."""
    from segkd.models.weights import packed, unpacked

    one = json.loads((run / "model.json").read_text())
    change(one)
    (run / "model.json").write_text(json.dumps(one))
    (run / "student.safetensors").write_bytes(packed(unpacked(run / "student.safetensors")[0], one))


def old(payload: Payload, run: Path, mark: Path) -> None:
    """The weights hold neither card nor digest, as those of the first versions: model.json alone counts."""
    from safetensors.torch import load_file, save_file

    payload(run, mark)
    tensors = load_file(run / "student.safetensors")
    save_file(tensors, run / "student.safetensors", {"step": str(json.loads((run / "model.json").read_text())["step"])})


def card(class_path: str, arguments: Callable[[Path, Path], dict[str, Any]], run: Path, mark: Path) -> None:
    """The card names another class."""
    _code(run, mark)
    edit_card(run, lambda one: one.update(class_path=class_path, init_args=arguments(run, mark)))


def wrapped(network: str, arguments: Callable[[Path, Path], dict[str, Any]], run: Path, mark: Path) -> None:
    """The card names a WrappedNet around a function."""
    inner = lambda r, m: {"classes": 2, "network": network, "arguments": arguments(r, m)}  # noqa: E731
    card(WRAPPED, inner, run, mark)


def configured(key: str, value: Callable[[Path, Path], Any], run: Path, mark: Path) -> None:
    """config.yaml names another class at a key."""
    _code(run, mark)
    path = run / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    place = tree
    *above, last = key.split(".")
    for part in above:
        place = place[part]
    place[last] = value(run, mark)
    path.write_text(yaml.safe_dump(tree))


def text(name: str, content: Callable[[Path, Path], bytes], run: Path, mark: Path) -> None:
    """A file of the run is something else."""
    _code(run, mark)
    (run / name).write_bytes(content(run, mark))


def _code(run: Path, mark: Path) -> None:
    """A module, a hub and a pickle beside the weights."""
    (run / "evil.py").write_text(
        f"open({str(mark)!r}, 'w')\nimport segkd\nclass Net(segkd.Network): pass\nclass Teacher(segkd.Teacher): pass\n"
    )
    (run / "hubconf.py").write_text(f"open({str(mark)!r}, 'w')\ndef evil(): pass\n")
    (run / "evil.pt").write_bytes(pickle.dumps(Trap(mark)))


def _shell(_: Path, mark: Path) -> dict[str, Any]:
    return {"command": f"touch {mark}"}


def _python(_: Path, mark: Path) -> str:
    return f"open({str(mark)!r}, 'w').close()"


def _class(path: str, **arguments: Any) -> Callable[[Path, Path], dict[str, Any]]:
    return lambda run, mark: {"class_path": path, "init_args": {k: v(run, mark) for k, v in arguments.items()}}


PAYLOADS: dict[str, Payload] = {
    "os.system as the network": partial(wrapped, "os.system", _shell),
    "posix.system as the network": partial(wrapped, "posix.system", _shell),
    "subprocess.run as the network": partial(wrapped, "subprocess.run", lambda r, m: {"args": ["touch", str(m)]}),
    "timeit.timeit as the network": partial(wrapped, "timeit.timeit", lambda r, m: {"stmt": _python(r, m)}),
    "torch.hub.load as the network": partial(
        wrapped, "torch.hub.load", lambda r, m: {"repo_or_dir": str(r), "model": "evil", "source": "local"}
    ),
    "torch.load as the network": partial(
        wrapped, "torch.load", lambda r, m: {"f": str(r / "evil.pt"), "weights_only": False}
    ),
    "numpy.load as the network": partial(
        wrapped, "numpy.load", lambda r, m: {"file": str(r / "evil.pt"), "allow_pickle": True}
    ),
    "runpy.run_path as the network": partial(wrapped, "runpy.run_path", lambda r, m: {"path_name": str(r / "evil.py")}),
    "timm's checkpoint_path": partial(
        wrapped, "timm.create_model",
        lambda r, m: {"model_name": "test_efficientnet", "checkpoint_path": str(r / "evil.pt")},
    ),
    "os within segkd.disk as the network": partial(wrapped, "segkd.disk.os.system", _shell),
    "os within timm as the network": partial(wrapped, "timm.models._hub.os.system", _shell),
    "subprocess.Popen as the class": partial(card, "subprocess.Popen", lambda r, m: {"args": ["touch", str(m)]}),
    "os.system as the class": partial(card, "os.system", _shell),
    "a function of segkd as the class": partial(
        card, "segkd.disk.write_whole", lambda r, m: {"path": str(m), "content": ""}
    ),
    "inside: evil.Net as the class": partial(card, "evil.Net", lambda r, m: {"classes": 2}),
    "run.evil.Net as the class": partial(card, "run.evil.Net", lambda r, m: {"classes": 2}),
    "a local folder as the encoder": partial(
        card, "segkd.models.network.FusionNet", lambda r, m: {"classes": 2, "encoder": f"local-dir:{r}", "width": 8}
    ),
    "a WrappedNet of os.system in config.yaml": partial(
        configured, "model", _class(WRAPPED, network=lambda r, m: "os.system", arguments=_shell)
    ),
    "subprocess.Popen as the model in config.yaml": partial(
        configured, "model", _class("subprocess.Popen", args=lambda r, m: ["touch", str(m)])
    ),
    "inside: evil.Net in config.yaml": partial(configured, "model", _class("evil.Net")),
    "inside: evil.Teacher in config.yaml": partial(configured, "distiller.teacher", _class("evil.Teacher")),
    "os.system as the teacher in config.yaml": partial(
        configured, "distiller.teacher", _class("os.system", command=lambda r, m: f"touch {m}")
    ),
    "a python tag in config.yaml": partial(
        text, "config.yaml", lambda r, m: f"data: !!python/object/apply:os.system ['touch {m}']\n".encode()
    ),
    "a pickle as student.safetensors": partial(text, "student.safetensors", lambda r, m: pickle.dumps(Trap(m))),
    "a pickle as last.pt": partial(text, "checkpoints/last.pt", lambda r, m: pickle.dumps(Trap(m))),
}  # fmt: skip
PAYLOADS |= {
    f"{name}, old": partial(old, PAYLOADS[name])
    for name in ("os.system as the network", "subprocess.Popen as the class", "inside: evil.Net as the class")
}
