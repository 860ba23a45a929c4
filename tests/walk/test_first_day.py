"""Seven data sets as they are downloaded, each to a trained network that is read back: no YAML is written by hand."""

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from segkd import load_model
from tests.conftest import TINY
from tests.walk.layouts import LAYOUTS

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]
SHORT = ["--data.batch_size", 2, "--engine.epochs", 1, "--data.workers", 0, "--evaluation.band_errors", "false"]

FOUND = {
    "human": ("another size than their images", {"classes": ["background", "foreground"]}),
    "pedestrians": ("numbers of objects", {"threshold": 0, "masks": "PedMasks/{}_mask"}),
    "blood": ("0 -> background, 128 -> class1, 255 -> class2", {"label_map": {0: 0, 128: 1, 255: 2}}),
    "leaves": ("3 colours", {"colours": {"background": "#000000", "class1": "#00ff00", "class2": "#ff0000"}}),
    "nuclei": ("12 masks of objects for 6 images", {"classes": ["background", "foreground"]}),
    "tiles": ("grey levels", {"threshold": 128, "images": "{}.jpg", "masks": "{}.png"}),
    "cracks": ("words in the folders' names", {"images": "*_img/{}", "masks": "*_lab/{}"}),
}
"""What is said of each layout, and settings that are written."""


def test_shards_are_trained_on_without_the_folder(run_cli, tmp_path, monkeypatch):
    root, layer, run = tmp_path / "leaves", tmp_path / "leaves.yaml", tmp_path / "run"
    LAYOUTS["leaves"](root)
    status, out, err = run_cli("prepare", root, "--out", layer, "--to", "parquet")
    assert status == 0 and "shards: 2 in" in " ".join(out.split()), out + err
    written = yaml.safe_load(layer.read_text())["data"]
    assert written["parquet"] == "leaves.prepared/shards" and not written.keys() & {"root", "images", "masks"}
    shutil.rmtree(root)
    status, out, err = run_cli(
        "train", "--config", layer, *TINY_MODEL, *SHORT, "--data.size", 64, "--data.cache_gb", 0, "--out", run
    )
    assert status == 0 and "2 Parquet shards" in " ".join(out.split()), out + err
    assert run_cli("evaluate", "--run", run, "--split", "val")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # what stands in a layer is relative to its file
    status, out, err = run_cli("evaluate", "--run", run, "--data", "../leaves.yaml", "--split", "val")
    assert status == 0, out + err
    status, _, err = run_cli("evaluate", "--run", run, "--split", "val", "--data.size", 96)
    assert status == 2 and "a run looks at images of its own size" in err


@pytest.mark.parametrize("name", LAYOUTS)
def test_from_a_download_to_a_network_that_is_read_back(name, run_cli, tmp_path):
    root, layer, run = tmp_path / name, tmp_path / f"{name}.yaml", tmp_path / "run"
    LAYOUTS[name](root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    status, out, err = run_cli("prepare", root, "--out", layer)
    said, settings = FOUND[name]
    assert status == 0 and said in " ".join(out.split()), out + err
    written = yaml.safe_load(layer.read_text())["data"]
    assert {key: written[key] for key in settings} == settings
    assert (tmp_path / f"{name}.prepared" / "sheet.png").is_file()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before, "the source is untouched"

    size = ["--data.size", 64]
    status, out, err = run_cli("train", "--config", layer, *TINY_MODEL, *SHORT, *size, "--out", run)
    assert status == 0, out + err
    image = next(p for p in before if p.suffix in (".jpg", ".bmp") or p.parent.name in ("PNGImages", "images"))
    status, out, err = run_cli("export", run, "--data.workers", 0)
    assert status == 0 and "parity: " in out and (run / "student.onnx").is_file(), out + err
    shares = load_model(run).predict(np.asarray(Image.open(image).convert("RGB")))
    assert shares.shape[0] == len(written["classes"]) and np.isfinite(shares).all()
