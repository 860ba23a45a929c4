"""Which images `segkd predict` takes, where results lie, and what they hold."""

import io

import numpy as np
import pytest
from PIL import Image

from segkd.experiment.painting import Painter
from segkd.models.store import Model, ModelCard
from tests.experiment.test_predicting import (
    Bands,
    picture,
    run_of,  # noqa: F401
)

# ruff: noqa: F811


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
