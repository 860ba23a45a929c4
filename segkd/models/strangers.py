"""Networks that other programs saved, known by their first bytes: none is opened here, but all can be scored."""

import zipfile
from pathlib import Path

ROUTES = (
    "To score it, open it with its own code, and export it to ONNX (torch.onnx.export; docs/metrics.md has the lines: "
    "segkd evaluate --onnx FILE), or save its maps (segkd evaluate --predictions DIR)."
)
"""What can be done with any network."""

BEGINNINGS = {
    b"\x80\x02\x8a\x0al\xfc\x9cF": "a file of torch.save",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes",
}
"""What a file is by its first bytes; archives and those of ONNX are looked into."""


def said_of_stranger(path: Path) -> str | None:
    """What a file or a folder that is neither ours nor ONNX is, and what to do with it; None where nothing is known."""
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    return None if found is None else f"found {found}. {ROUTES}"


def _of_folder(path: Path) -> str | None:
    files = [name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()]
    if not files or not (path / "config.json").is_file():
        return None
    return f"{files[0]} beside config.json, as save_pretrained of another library writes"


def _of_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
            names = zipfile.ZipFile(file).namelist() if head.startswith(b"PK\x03\x04") else []
    except Exception:  # a damaged archive can raise anything
        return None
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "TorchScript, a program"
    if "data.pkl" in inner:
        return "a file of torch.save: weights, or a pickled module"
    if names:
        return "a ZIP archive" + (", as torch.export writes (.pt2)" if path.suffix == ".pt2" else "")
    return next((what for start, what in BEGINNINGS.items() if head.startswith(start)), None)
