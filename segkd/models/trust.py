"""What a file may name before the person who opens it has said that it is trusted: a short list, given plain data."""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from segkd.types import InputError

NETWORKS = (
    "segkd.models.network.FusionNet",
    "segkd.models.network.WrappedNet",
    "segkd.models.smp.SmpNet",
    "segkd.models.reused.ReusedHead",
    "segkd.models.adapted.AdaptedNet",
)
"""The networks of segkd, by import path."""

SMP = "segmentation_models_pytorch."
TORCHVISION = "torchvision.models.segmentation."
WRAPPED = frozenset(
    [
        *(SMP + name for name in ("DPT", "DeepLabV3", "DeepLabV3Plus", "FPN", "Linknet", "MAnet", "PAN", "PSPNet")),
        *(SMP + name for name in ("Segformer", "UPerNet", "Unet", "UnetPlusPlus")),
        *(TORCHVISION + name for name in ("deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50")),
        *(TORCHVISION + name for name in ("fcn_resnet101", "fcn_resnet50", "lraspp_mobilenet_v3_large")),
    ]
)
"""What `WrappedNet` may wrap without trust: whole names, for a package is also a door to all that it imports."""

PLAIN_NAME = re.compile(r"[\w.+-]+")
"""An encoder of a library's own list. timm takes `hf-hub:...` and `local-dir:...` as well, which fetch and read."""


def refuse_foreign_network(class_path: Any, init_args: Mapping[str, Any], where: str) -> None:
    """Raises InputError unless a network is one of segkd, or of smp or torchvision in `WrappedNet`, given plain data.

    Nothing is imported but smp or torchvision, and nothing is called. `where` names the file in the message.
    """
    if class_path not in NETWORKS:
        raise foreign(str(class_path), where)
    refuse_hidden(init_args, where)
    if not is_plain_encoder(init_args.get("encoder")):
        raise foreign(f"the encoder {init_args['encoder']!r}", where)
    if init_args.get("trust") not in (None, False):  # of the run whose head is reused: a file cannot trust for us
        raise foreign(f"trust: {init_args['trust']}", where)
    name = class_path.rpartition(".")[2]
    if name == "WrappedNet":
        network = str(init_args.get("network"))  # a list has no hash
        if network not in WRAPPED:
            raise foreign(network, where)
        _refuse_arguments(network, init_args.get("arguments") or {}, where)
    if name == "ReusedHead":
        for part in (init_args, init_args.get("donor")):
            if part is not None:
                _refuse_inner(part, where)
    if name == "SmpNet":
        architecture = str(init_args.get("architecture")).lower()
        known = [path for path in WRAPPED if path.lower() == f"{SMP}{architecture}"]
        if not known:
            raise foreign(f"the architecture {architecture!r}", where)
        _refuse_arguments(known[0], init_args.get("arguments") or {}, where)


def whole_name(name: str) -> str:
    """The import path of a network of segkd that is named without it; another name as it is."""
    return next((path for path in NETWORKS if path.rpartition(".")[2] == name), name)


def _refuse_inner(part: Any, where: str) -> None:
    """Raises InputError unless the network inside another is one that may be built."""
    arguments = (part.get("arguments") or {}) if isinstance(part, Mapping) else None
    if not isinstance(arguments, Mapping):
        raise InputError(f"{where}: expected a network and a map of its arguments, found {part!r}.")
    refuse_foreign_network(whole_name(str(part.get("network", "FusionNet"))), arguments, where)


def _refuse_arguments(path: str, arguments: Any, where: str) -> None:
    """An architecture hands what it does not know on to timm, where `checkpoint_path` unpickles: only its own pass."""
    if not isinstance(arguments, Mapping):
        raise InputError(f"{where}: expected a map of arguments for {path}, found {arguments!r}.")
    signature = inspect.signature(imported(path)).parameters.values()
    own = {one.name for one in signature if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)}
    for name in arguments:
        if name not in own:
            raise foreign(f"the argument {name!r} of {path}", where)
    if not is_plain_encoder(arguments.get("encoder_name")):
        raise foreign(f"the encoder {arguments['encoder_name']!r}", where)


def is_plain_encoder(name: Any) -> bool:
    """Whether an encoder is none, or of a library's own list."""
    return name is None or (isinstance(name, str) and bool(PLAIN_NAME.fullmatch(name)))


def refuse_hidden(tree: Any, where: str) -> None:
    """Raises InputError for a class that is named inside the arguments of another."""
    if isinstance(tree, Mapping):
        if "class_path" in tree:
            raise foreign(str(tree["class_path"]), where)
        tree = list(tree.values())
    for part in tree if isinstance(tree, list | tuple) else ():
        refuse_hidden(part, where)


def foreign(name: str, where: str) -> InputError:
    """The refusal of what is not on the list, and what one must say to open it all the same."""
    return InputError(
        f"{where} names {name}, which is not on the list of what a file may build on its own (networks of segkd, smp "
        "and torchvision from plain settings). Opening it may run code of whoever wrote it, with your rights. If that "
        "is you, or someone you trust, add --trust to the command (in Python: segkd.load_model(folder, "
        "trust=True); of a teacher or a reused head its setting trust: true). See docs/security.md."
    )


def imported(path: str) -> Any:
    """The object at an import path, `package.module.Name`.

    A module that is found nowhere else is looked for in the working directory, which comes last: nothing that lies
    there takes the place of a library.

    Raises:
        ImportError, AttributeError, ValueError: there is none.
    """
    seek_beside(path)
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def seek_beside(path: str) -> None:
    """Appends the working directory to `sys.path` if the first part of an import path is found there alone."""
    here = os.getcwd()
    if not _known(path) and _lies_here(path) and here not in sys.path:
        sys.path.append(here)


def importable(path: str) -> bool:
    """Whether the first part of an import path is found, in the working directory too; nothing is imported."""
    return _known(path) or _lies_here(path)


def _known(path: str) -> bool:
    try:
        return importlib.util.find_spec(path.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return True


def _lies_here(path: str) -> bool:
    first, *rest = path.split(".")
    here = os.path.join(os.getcwd(), first)
    package = os.path.isfile(os.path.join(here, "__init__.py"))
    inner = os.path.join(here, rest[0]) if rest else here  # a folder without code is no module
    return bool(first) and (os.path.isfile(f"{here}.py") or package or os.path.isfile(f"{inner}.py") or (
        bool(rest) and os.path.isdir(inner)))  # fmt: skip
