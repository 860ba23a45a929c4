import os
from weakref import ref

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segkd import disk
from segkd.datasets.maps import read_prediction
from segkd.datasets.pictures import How
from segkd.experiment.painting import Painter, in_colours, write_overlay
from segkd.experiment.predicting import Job
from segkd.models.enlarge import NotNumbers
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard
from segkd.types import IGNORE, Prediction


class Bands(Network):
    """Class k is where red is near k / (classes - 1)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.arange(classes) / (classes - 1))

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(-100 * (image[:, :1] - self.levels.view(1, -1, 1, 1)).abs())


@pytest.fixture
def run_of(monkeypatch):
    """A function that lets `load_model` find a network of `classes` classes, of which red decides."""

    def given(classes: int) -> str:
        card = ModelCard("Bands", {}, [f"c{i}" for i in range(classes)], (32, 32))
        monkeypatch.setattr("segkd.experiment.predicting.opened", lambda *_a, **_k: Model(Bands(classes), card))
        return "no_folder"

    return given


def picture(classes=4, size=(40, 60)):
    """Vertical bands of red, and the class of each pixel."""
    label = (np.arange(size[1]) * classes // size[1]).astype(np.uint8) * np.ones(size, np.uint8)
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0] = label * (255 // (classes - 1))
    return image, label


@pytest.fixture
def photos(tmp_path):
    """A folder of pictures in formats of phones and browsers, and things that are none."""
    image, _ = picture()
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.jpg", "b.jfif", "c.JPG", "d.jpe", "h"):
        Image.fromarray(image).save(folder / name, "JPEG", quality=95)
    Image.fromarray(image).save(folder / "deep" / "e.tga")
    Image.fromarray(image).save(folder / ".hidden" / "x.png")
    (folder / "g.heic").write_bytes(b"x")
    return folder


def test_a_folder_is_predicted_whatever_pillow_reads_and_the_rest_is_said(run_of, photos, run_cli, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    status, said, err = run_cli("predict", "--run", run_of(4), "--images", photos, "--out", out)
    assert status == 0, err
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert names == ["a.png", "b.png", "c.png", "d.png", "deep/e.png", "notes.txt"]
    assert "passed over 3 files" in said and ".hidden" in said and "g.heic" in said and "h (no extension)" in said
    assert "5 predictions" in said and "0 c0, 1 c1, 2 c2, 3 c3" in said


def test_single_images_are_taken_and_the_folder_they_lie_in_is_not_written_to(run_of, photos, run_cli, tmp_path):
    run = run_of(4)
    status, _, err = run_cli(
        "predict", "--run", run, "--images", photos / "h", photos / "deep" / "e.tga", "--out", tmp_path / "out"
    )
    assert status == 0 and sorted(os.listdir(tmp_path / "out")) == ["e.png", "h.png"], err
    status, _, err = run_cli("predict", "--run", run, "--images", photos / "a.jpg", "--out", photos)
    assert status == 2 and "outside" in err
    (photos / "only").mkdir()
    (photos / "only" / "g.heic").write_bytes(b"x")
    status, said, err = run_cli("predict", "--run", run, "--images", photos / "only", "--out", tmp_path / "none")
    assert status == 2 and "found none" in err and "g.heic" in said


def test_class_maps_are_seen_in_any_viewer_and_hold_the_same_numbers(run_of, run_cli, tmp_path):
    image, label = picture(size=(32, 32))
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    assert run_cli("predict", "--run", run_of(4), "--images", tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), label)
        assert len(np.unique(np.asarray(written.convert("RGB")).reshape(-1, 3), axis=0)) == 4
    np.testing.assert_array_equal(read_prediction(tmp_path / "out" / "a.png", 4, label.shape), label)
    (tmp_path / "gt").mkdir()
    Image.fromarray(label).save(tmp_path / "gt" / "a.png")
    status, said, err = run_cli(
        "evaluate", "--predictions", tmp_path / "out", "--labels", tmp_path / "gt", "--data.classes", "[a,b,c,d]"
    )
    assert status == 0 and "pixel_accuracy   │ 1.0000" in said, said + err


@pytest.mark.parametrize("classes", [3, 21, 150, 255])
def test_colours_are_distinct(classes):
    numbers = np.arange(classes, dtype=np.uint8)[None]
    colours = np.asarray(in_colours(numbers, classes).convert("RGB"))[0]
    assert len(np.unique(colours, axis=0)) == classes and (colours[0] == 0).all()
    ignored = in_colours(np.full((1, 1), IGNORE, np.uint8), classes).convert("RGB")
    assert ignored.getpixel((0, 0)) == (110, 110, 110)


def test_an_image_that_is_damaged_or_too_large_loses_only_its_own(run_of, photos, run_cli, tmp_path, monkeypatch):
    rows = Model.rows

    def limited(self, images, stride=None):
        if any(image.shape[1] > 1000 for image in images):
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return rows(self, images, stride)

    monkeypatch.setattr(Model, "rows", limited)
    Image.new("RGB", (2000, 30)).save(photos / "b_wide.png")
    Image.new("RGB", (3000, 2000)).save(photos / "b_huge.png")
    (photos / "c_torn.png").write_bytes(b"torn")
    arguments = ["--run", run_of(4), "--images", photos, "--out", tmp_path / "out", "--max-megapixels", "3"]
    status, said, err = run_cli("predict", *arguments)
    assert status == 2 and "3 of 8 images" in err and "5 predictions" in said
    for name, why in [("b_wide.png", "memory"), ("b_huge.png", "--max-megapixels 7"), ("c_torn.png", "readable image")]:
        assert any(name in line and why in line for line in err.splitlines())
    assert not (tmp_path / "out" / "b_wide.png").exists() and (tmp_path / "out" / "d.png").exists()


def test_a_batch_that_does_not_fit_lets_go_of_its_tensors_and_its_faults(monkeypatch, tmp_path):
    """Its images come one by one, and what it had found of them is found anew."""
    torn, there = tmp_path / "torn.png", []

    def write(_painter, rows, _size, target):
        if target == torn:
            raise NotNumbers("the network gives NaN")
        raise MemoryError

    class Large:
        def rows(self, images, _stride):
            logits = torch.zeros(len(images))
            there.append(ref(logits))
            assert len(there) == 1 or there[0]() is None
            return [logits for _ in images]

    monkeypatch.setattr(Painter, "write", write)
    job = Job(Large(), Painter(["a", "b"], 0.5, "mask"), How(), {}, None)
    paths = [torn, tmp_path / "large.png"]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    job.do({path: path for path in paths})
    assert len(there) == 3
    assert [fault.split(": ")[0] for fault in job.faults] == [str(path) for path in paths]


@pytest.mark.parametrize("more", [[], ["--stride", "1"], ["--kind", "npy"]])
@pytest.mark.parametrize("classes", [2, 4])
def test_an_image_of_which_the_network_gives_nan_gets_no_result(run_of, run_cli, tmp_path, monkeypatch, classes, more):
    run, forward = run_of(classes), Bands.forward
    monkeypatch.setattr(Bands, "forward", lambda self, x: Prediction(forward(self, x).logits / (x.mean() > 0)
                                                                     * (x.mean() > 0)))  # fmt: skip
    for name, value in (("black", 0), ("grey", 90)):
        Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(tmp_path / f"{name}.png")
    photos = (tmp_path / "black.png", tmp_path / "grey.png")
    status, _, err = run_cli("predict", run, *photos, "--out", tmp_path / "out", "--batch-size", 1, *more)
    assert status == 2 and "1 of 2 images have no prediction" in err
    assert "black.png: the network gives NaN for 1024 of 1024 places" in " ".join(err.split())
    assert [path.stem for path in (tmp_path / "out").iterdir()] == ["grey"]


def test_a_full_disk_leaves_no_half_picture(run_of, photos, run_cli, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    status, _, err = run_cli("predict", "--run", run_of(4), "--images", photos, "--out", tmp_path / "out")
    assert status == 2 and "No space left" in err and "Traceback" not in err
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_an_overlay_that_jpeg_has_no_size_for_is_made_smaller(tmp_path):
    for width in (65500, 65600):
        write_overlay(np.zeros((2, width, 3), np.uint8), np.zeros((2, width), np.uint8), 2, tmp_path / f"{width}.jpg")
        with Image.open(tmp_path / f"{width}.jpg") as made:
            assert made.size == (65500, 2)


def test_what_is_left_out_of_an_image_is_said_and_values_are_read_as_in_training(
    run_of, run_cli, tmp_path, monkeypatch
):
    image, label = picture(classes=2, size=(32, 32))
    (tmp_path / "in").mkdir()
    first, second = Image.fromarray(image), Image.fromarray(image[::-1])
    first.save(tmp_path / "in" / "pages.tif", save_all=True, append_images=[second])
    Image.fromarray(label * np.uint16(4095)).save(tmp_path / "in" / "deep.png")
    arguments = ["--run", run_of(2), "--images", tmp_path / "in", "--out", tmp_path / "out"]
    status, said, err = run_cli("predict", *arguments)
    assert status == 0 and "pages.tif" in said and "pages after the first" in said, err
    assert "deep.png" in said and "data.range: [0, 4095]" in said
    assert (np.asarray(Image.open(tmp_path / "out" / "deep.png")) == 0).all()
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: {range: [0, 4095]}\n")
    arguments[1] = run
    status, said, err = run_cli("predict", *arguments, "--existing", "replace")
    assert status == 0 and "data.range" not in said, err
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "deep.png")), label * 255)


def test_predictions_have_the_size_that_is_displayed(run_of, run_cli, tmp_path):
    image, _ = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "turned.jpg", exif=exif)
    assert run_cli("predict", "--run", run_of(2), "--images", tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    with Image.open(tmp_path / "out" / "turned.png") as mask:
        assert mask.size == (40, 60) and mask.mode == "L"
        assert set(np.unique(np.asarray(mask))) == {0, 255}


@pytest.mark.skipif(os.name == "nt", reason="names of bytes")
def test_names_that_are_no_text_are_kept(run_of, run_cli, tmp_path):
    image, _ = picture()
    folder = tmp_path / "d[/x]"
    folder.mkdir(parents=True)
    name = os.fsdecode(b"caf\xe9 [b]")
    Image.fromarray(image).save(folder / f"{name}.png")
    (folder / f"{name}2.png").write_bytes(b"torn")
    status, said, err = run_cli("predict", "--run", run_of(4), "--images", folder, "--out", tmp_path / "p[/x]")
    assert status == 2 and "p[/x]" in said and r"caf\xe9 [b]2.png" in err
    assert os.listdir(tmp_path / "p[/x]") == [f"{name}.png"]
