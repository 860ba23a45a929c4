import io
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
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard, save_student
from segkd.types import IGNORE, Prediction
from tests.conftest import TINY


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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with two folders of photos; `a` and `b` both hold 1.png."""
    image, _ = picture()
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def files_in(place):
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def test_one_photo_gives_a_mask_and_an_overlay_beside_it(run_of, folder, run_cli):
    status, said, err = run_cli("predict", run_of(4), "a/2.png")
    assert status == 0 and "1 prediction in predictions" in said and "overlays in predictions_overlays" in said, err
    assert files_in(folder / "predictions") == ["2.png"] and files_in(folder / "predictions_overlays") == ["2.jpg"]
    image, label = picture()
    shown = pixels(folder / "predictions_overlays" / "2.jpg").astype(int)
    assert shown.shape == image.shape and np.abs(shown - image)[label == 0][:, 1:].max() < 30  # the ground is the photo
    assert run_cli("predict", run_of(4), "a/1.png", "--overlays", "none", "--out", "bare")[0] == 0
    assert not (folder / "bare_overlays").exists()
    assert run_cli("predict", run_of(4), "--overlays", "o", "--out", "bare2", "a/1.png")[0] == 0
    assert files_in(folder / "o") == ["1.jpg"]


def test_patterns_and_lists_are_spelled_out_and_a_file_is_done_once(run_of, folder, run_cli, monkeypatch):
    status, _, err = run_cli("predict", run_of(4), "a/*.png", "./a/1.png", "a", "--out", "one")
    assert status == 0 and files_in(folder / "one") == ["1.png", "2.png"], err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a/2.png\n\n  b/3.png\n")))
    status, _, err = run_cli("predict", run_of(4), "-", "--out", "two")
    assert status == 0 and files_in(folder / "two") == ["2.png", "3.png"], err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa/2.png\r\n")))
    status, _, err = run_cli("predict", run_of(4), "-", "--out", "three")
    assert status == 0 and files_in(folder / "three") == ["2.png"], err


def test_overlays_replace_neither_photos_nor_unasked_what_is_there(run_of, folder, run_cli):
    Image.fromarray(picture()[0]).save(folder / "a" / "3.jpg")
    before = (folder / "a" / "3.jpg").read_bytes()
    for existing in ("refuse", "skip", "replace"):
        status, _, err = run_cli("predict", run_of(4), "a", "--out", "out", "--overlays", "a", "--existing", existing)
        assert status == 2 and "another folder than the images'" in err and "a/3.jpg" in err, err
    assert (folder / "a" / "3.jpg").read_bytes() == before and not (folder / "out").exists()
    (folder / "out_overlays").mkdir()
    (folder / "out_overlays" / "1.jpg").write_text("mine")
    status, _, err = run_cli("predict", run_of(4), "a", "--out", "out")
    assert status == 2 and "out_overlays/1.jpg" in err and "--existing replace" in err, err
    assert (folder / "out_overlays" / "1.jpg").read_text() == "mine"
    assert run_cli("predict", run_of(4), "a", "--out", "out", "--existing", "skip")[0] == 0
    assert (folder / "out_overlays" / "1.jpg").read_text() == "mine" and (folder / "out_overlays" / "2.jpg").is_file()
    assert run_cli("predict", run_of(4), "a", "--out", "out", "--existing", "replace")[0] == 0
    assert (folder / "out_overlays" / "1.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_what_another_process_has_made_meanwhile_is_left_alone(run_of, folder, run_cli, monkeypatch):
    write = Painter.write

    def beside_another(self, rows, size, target):
        for name in ("out/2.png", "out_overlays/2.jpg"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"theirs")
        return write(self, rows, size, target)

    monkeypatch.setattr(Painter, "write", beside_another)
    skip = ["--existing", "skip", "--batch-size", "1"]
    assert run_cli("predict", run_of(4), "a", "--out", "out", *skip)[0] == 0
    assert (folder / "out" / "2.png").read_bytes() == (folder / "out_overlays" / "2.jpg").read_bytes() == b"theirs"
    assert pixels(folder / "out" / "1.png").shape == (40, 60)


def test_what_is_not_there_costs_only_itself(run_of, folder, run_cli):
    status, said, err = run_cli("predict", run_of(4), "a", "gone.jpg", "x*.png", "--out", "out")
    assert status == 2 and "2 of 4 images" in err and "gone.jpg" in err and "x*.png" in err and "2 predictions" in said
    status, _, err = run_cli("predict", run_of(4), "gone.jpg", "--out", "none")
    assert status == 2 and "gone.jpg" in err and not (folder / "none").exists()


def test_two_folders_with_the_same_names_are_kept_apart(run_of, folder, run_cli):
    status, said, err = run_cli("predict", run_of(4), "a", "b", "--out", "out")
    assert status == 0 and "a folder for each" in said, err
    assert files_in(folder / "out") == ["a/1.png", "a/2.png", "b/1.png", "b/3.png"]
    assert files_in(folder / "out_overlays") == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/3.jpg"]
    Image.fromarray(picture()[0]).save(folder / "a" / "1.jpg")
    status, _, err = run_cli("predict", run_of(4), "a", "--out", "double")
    assert status == 2 and "same result file" in err and "a/1.jpg" in err and not (folder / "double").exists()


def test_no_result_lies_among_images_though_out_does_not(run_of, folder, run_cli):
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    status, _, err = run_cli("predict", run_of(4), "a", "b", "--out", ".", "--existing", "replace")
    assert status == 2 and "mix with images" in err, err
    status, _, err = run_cli("predict", run_of(4), "a/1.png", "b/1.png", "--out", "a")  # in a/a and a/b
    assert status == 2 and "mix with images" in err, err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_results_that_are_there_are_never_lost_unasked(run_of, folder, run_cli):
    (folder / "out").mkdir()
    (folder / "out" / "1.png").write_bytes(b"mine")
    status, _, err = run_cli("predict", run_of(4), "a", "--out", "out")
    assert status == 2 and "1 of 2 results" in err and "--existing" in err and files_in(folder / "out") == ["1.png"]
    skip = ["predict", run_of(4), "a", "--out", "out", "--existing", "skip"]
    status, said, _ = run_cli(*skip, "--overlays", "none")
    assert status == 0 and "1 results are there already" in said and (folder / "out" / "1.png").read_bytes() == b"mine"
    assert run_cli(*skip)[0] == 0 and files_in(folder / "out_overlays") == ["1.jpg", "2.jpg"]  # a kill came between
    assert (folder / "out" / "1.png").read_bytes() == b"mine" and "2 results are there" in run_cli(*skip)[1]
    assert run_cli("predict", run_of(4), "a", "--out", "out", "--existing", "replace")[0] == 0
    assert pixels(folder / "out" / "1.png").shape == (40, 60)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("values", [1, 1 << 24])
def test_probabilities_of_any_number_of_classes_are_read_back(run_of, folder, run_cli, monkeypatch, classes, values):
    monkeypatch.setattr("segkd.models.enlarge.VALUES", values)
    assert run_cli("predict", run_of(classes), "a/1.png", "--kind", "npy", "--out", "p")[0] == 0
    image = pixels(folder / "a" / "1.png")
    card = ModelCard("Bands", {}, [f"c{i}" for i in range(classes)], (32, 32))
    expected = Model(Bands(classes), card).predict(image)
    found = np.load(folder / "p" / "1.npy")
    np.testing.assert_allclose(found, expected[1] if classes == 2 else expected, atol=1e-6)
    (folder / "gt").mkdir()
    Image.fromarray(picture(classes)[1]).save(folder / "gt" / "1.png")
    names = "[" + ",".join("abcd"[:classes]) + "]"
    status, _, err = run_cli("evaluate", "--predictions", "p", "--labels", "gt", "--data.classes", names)
    assert status == 0, err


def test_probabilities_of_16_bits_are_those_of_8_bits_but_finer(run_of, folder, run_cli):
    grey = np.tile(np.linspace(120, 135, 60).astype(np.uint8), (40, 1))  # where the network is not sure
    Image.fromarray(np.dstack([grey, grey, grey])).save(folder / "a" / "1.png")
    for kind in ("probability", "probability16"):
        assert run_cli("predict", run_of(2), "a/1.png", "--kind", kind, "--out", kind)[0] == 0
    rough, fine = (pixels(folder / kind / "1.png") for kind in ("probability", "probability16"))
    assert rough.dtype == np.uint8 and fine.dtype == np.uint16 and len(np.unique(fine)) > len(np.unique(rough))
    np.testing.assert_allclose(fine / 65535, rough / 255, atol=0.5 / 255 + 1e-4)
    status, _, err = run_cli("predict", run_of(4), "a/1.png", "--kind", "probability16", "--out", "x")
    assert status == 2 and "--kind npy" in err


def test_a_window_sees_details_that_shrinking_loses(run_of, folder, run_cli):
    """Lines of one pixel, on an image four times as large as the network's."""
    label = np.zeros((128, 160), np.uint8)
    label[:, ::2] = 3
    Image.fromarray(np.dstack([label * 85, label * 0, label * 0])).save(folder / "lines.png")
    for name, extra in (("whole", []), ("window", ["--stride", "0.5"])):
        assert run_cli("predict", run_of(4), "lines.png", "--out", name, *extra)[0] == 0
    np.testing.assert_array_equal(pixels(folder / "window" / "lines.png"), label)
    assert (pixels(folder / "whole" / "lines.png") != label).mean() > 0.4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "RUN PATH"),
        (["a.pt2", "b.png"], "a file of segkd export (.onnx)"),
        (["run"], "expected images"),
        (["run", "a", "--stride", "2"], "--stride"),
        (["run", "a", "--stride", "0"], "--stride"),
        (["run", "a", "--batch-size", "0"], "--batch-size"),
        (["run", "a", "--max-megapixels", "nan"], "--max-megapixels"),
        (["run", "a", "--kind", "x"], "--kind"),
        (["run", "a", "--threshold", "0.3"], "--threshold 0.3 decides between two classes; of 4"),
        (["run", "a", "--outt", "x"], "--outt"),
        (["run", "a", "--out", "p", "--overlays", "p"], "another folder"),
    ],
)
def test_a_command_line_that_is_not_clear_is_refused(run_of, folder, run_cli, arguments, said):
    run_of(4)
    (folder / "a.pt2").touch()
    status, _, err = run_cli("predict", *arguments)
    assert status == 2 and said in err and "Traceback" not in err


def test_what_is_decided_already_takes_no_threshold(run_of, folder, run_cli, monkeypatch):
    run = run_of(2)
    monkeypatch.setattr(Bands, "meaning", "classes", raising=False)
    for asked in (["--threshold", "0.3"], ["--kind", "probability"]):
        status, _, err = run_cli("predict", run, "a/1.png", *asked)
        assert status == 2 and " ".join(asked) in err and "gives class numbers" in err
    assert run_cli("predict", run, "a/1.png")[0] == 0


@pytest.fixture
def runs(tmp_path):
    """Two run folders with students of one size."""
    for seed, name in enumerate(["one", "two"]):
        torch.manual_seed(seed)
        arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
        network = FusionNet(**arguments)
        with torch.no_grad():  # sure enough that a wrong mean shows
            network.head.weight.mul_(30)
        (tmp_path / name).mkdir()
        card = ModelCard("segkd.models.network.FusionNet", arguments, ["no", "yes"], (64, 64), threshold=0.3)
        save_student(tmp_path / name, network, card)
    return [tmp_path / "one", tmp_path / "two"]


def test_several_runs_predict_the_mean_of_their_probabilities(runs, run_cli, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")

    def said(name, *options):
        out = tmp_path / name
        status, _, err = run_cli("predict", *options, "--images", tmp_path / "a.png", "--out", out, "--kind", "npy")
        assert status == 0, err
        return np.load(out / "a.npy")

    one, two = (said(run.name + "_out", run) for run in runs)
    both = said("both", "--run", runs[0], "--run", runs[1], "--fuse", "mean")
    assert np.abs(one - two).max() > 0.05
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-5)


def test_an_ensembles_masks_are_cut_at_a_half(runs, run_cli, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    fused = ["--run", runs[0], "--run", runs[1], "--fuse", "mean", "--images", tmp_path / "a.png"]
    status, said, err = run_cli("predict", *fused, "--out", tmp_path / "masks")
    assert status == 0 and "0.5" in said, (said, err)
    run_cli("predict", *fused, "--out", tmp_path / "npy", "--kind", "npy")
    mask, shares = np.asarray(Image.open(tmp_path / "masks" / "a.png")), np.load(tmp_path / "npy" / "a.npy")
    assert np.array_equal(mask == 255, shares >= 0.5) and 0 < mask.mean() < 255


def test_several_runs_without_fuse_and_fuse_without_several_are_refused(runs, run_cli, tmp_path):
    for options in (["--run", runs[0], "--run", runs[1]], ["--run", runs[0], "--fuse", "mean"]):
        status, _, err = run_cli("predict", *options, "--images", tmp_path)
        assert status == 2 and "--run A --run B --fuse mean" in err


def test_exported_files_alone_are_not_fused(runs, run_cli, tmp_path):
    pytest.importorskip("onnxruntime")
    from tests.models.graphs import TWO, node, save

    files = [
        save(tmp_path / name, [node("Conv", ["image", "w", "c"], "out")], constants=TWO)
        for name in ("a.onnx", "b.ONNX")
    ]
    picture_of = tmp_path / "a.png"
    Image.fromarray(picture()[0]).save(picture_of)
    status, _, err = run_cli("predict", "--run", files[0], "--run", files[1], "--fuse", "mean", "--images", picture_of)
    assert status == 2 and "--run FOLDER" in err and "load_ensemble" not in err
