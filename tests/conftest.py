"""Shape annotations are checked by beartype under pytest only; what several tests need is made here."""

import gc
import os
import sys
from pathlib import Path

gc.set_threshold(20_000, 10, 5)  # Python's own 700, 10, 10 took 9 % of the time of contract/test_methods.py
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests prove what holds on any machine: they run on the CPU

from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).parent.parent
SHAPED = [path for path in (REPOSITORY / "segkd").rglob("*.py") if "jaxtyping" in path.read_text(encoding="utf-8")]
# the other modules have no shapes, and a check of every call takes a quarter of the time of all tests
install_import_hook([".".join(p.relative_to(REPOSITORY).with_suffix("").parts) for p in SHAPED], "beartype.beartype")

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from segkd.types import IGNORE, Batch
from tests.skips import pytest_sessionfinish, pytest_terminal_summary  # noqa: F401  (hooks)
from tests.warm import warm  # noqa: F401  (a fixture)

settings.register_profile("same every time", derandomize=True, deadline=None)
settings.load_profile("same every time")


def pytest_collection_finish():
    """What was imported stays to the end: no later collection need look through it."""
    gc.collect()
    gc.freeze()


TINY = "test_efficientnet"
"""A timm encoder with a few thousand parameters."""


def touch(folder, *names):
    """Empty files of these names below a folder, which is given back."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Two test processes on two cores must not fight, and results must not depend on the machine's cores."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch):
    """What tests write need not outlive one, and waiting for the disk at every file is slow."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(scope="session")
def make_batch():
    """A function that makes a random batch: (k, b, size, ignored share, soft) -> Batch."""

    def make(classes=2, b=2, size=(32, 32), ignored=0.1, soft=True, seed=0) -> Batch:
        draw = torch.Generator().manual_seed(seed)
        image = torch.rand(b, 3, *size, generator=draw)
        coarse = torch.rand(b, classes, 4, 4, generator=draw)
        fine = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
        label = fine.argmax(dim=1)
        shares = (fine * 12).softmax(dim=1) if soft else None
        label[torch.rand(label.shape, generator=draw) < ignored] = IGNORE
        warp = torch.eye(2, 3).repeat(b, 1, 1)
        return Batch(image, image, label, shares, tuple(f"image{i}" for i in range(b)), warp=warp)

    return make


@pytest.fixture
def make_folder(tmp_path):
    """A function that writes n images with a bright square and their masks: (n, high, size) -> folder."""

    def make(n=8, high=255, size=(48, 40), name="folder") -> Path:
        root = tmp_path / name
        draw = np.random.default_rng(0)
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True)
        for i in range(n):
            mask = np.zeros(size, np.uint8)
            top, left = draw.integers(4, 16, 2)
            mask[top : top + 20, left : left + 16] = 1
            image = (draw.uniform(0, 90, (*size, 3)) + 150 * mask[..., None]).astype(np.uint8)
            Image.fromarray(image).save(root / "images" / f"photo{i}.jpg", quality=95)
            Image.fromarray(mask * np.uint8(high)).save(root / "masks" / f"photo{i}.png")
        return root

    return make


@pytest.fixture
def run_cli(capsys, monkeypatch):
    """A function that runs `segkd ARGUMENTS` in this process: -> (status, stdout, stderr)."""
    from segkd.cli import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "path", list(sys.path))
        status = main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return run
