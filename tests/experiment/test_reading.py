"""Images are read as those of the training were, wherever the student went."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import segkd
from segkd.datasets.pictures import How
from segkd.experiment.console import make_console
from segkd.experiment.reading import how_of
from segkd.models.fusion import FusionNet
from segkd.models.signature import Statement
from segkd.models.store import ModelCard, save_student
from tests.conftest import TINY

ARGUMENTS = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
CARD = ModelCard("segkd.models.network.FusionNet", ARGUMENTS, ["no", "yes"], (32, 32))
DARK = replace(CARD, range=(0.0, 60.0), exif=False)
MIXED = "data: {root: d, range: [0, 9], domains: {a: {range: [0, 60]}, b: {range: [0, 60]}, c: {exif: false}}}"


@pytest.fixture
def run_of(tmp_path):
    """A function that makes a run folder with a student: (name, card, configuration) -> folder."""

    def given(name, card=CARD, config=None):
        torch.manual_seed(0)
        save_student(tmp_path / name, FusionNet(**ARGUMENTS), card)
        if config is not None:
            (tmp_path / name / "config.yaml").write_text(config)
        return tmp_path / name

    return given


@pytest.fixture
def read(capsys):
    """A function: (runs, images) -> how they are read, and what is said."""

    def given(*runs, images=()):
        how = how_of([str(run) for run in runs], make_console(True), [str(one) for one in images])
        return how, " ".join(capsys.readouterr().out.split())

    return given


def test_a_student_alone_says_how_its_images_were_read(run_of, read, tmp_path):
    run = run_of("run", DARK)
    for place in (run, run / "student.safetensors"):
        assert read(place) == (How(False, (0.0, 60.0)), "")
    (run / "student.safetensors").rename(tmp_path / "moved.safetensors")
    (tmp_path / "config.yaml").write_text("somebody: else")
    assert read(tmp_path / "moved.safetensors")[0] == How(False, (0.0, 60.0))


def test_an_exported_file_says_it_too_and_a_foreign_configuration_beside_it_is_not_read(read, tmp_path):
    pytest.importorskip("onnxruntime")
    from tests.models.graphs import TWO, node, save

    told = Statement("logits", ["no", "yes"], (32, 32), 0.5, 1, "1", (0.0, 60.0), False)
    path = save(tmp_path / "n.onnx", [node("Conv", ["image", "w", "c"], "out")], constants=TWO,
                metadata=told.metadata())  # fmt: skip
    (tmp_path / "config.yaml").write_text("somebody: else")
    assert read(path) == (How(False, (0.0, 60.0)), "")


def test_domains_that_agree_are_followed_and_those_that_do_not_are_named(run_of, read):
    agreed = MIXED.replace(", c: {exif: false}", "")
    assert read(run_of("agreed", config=agreed)) == (How(range=(0.0, 60.0)), "")
    how, said = read(run_of("mixed", config=MIXED))
    assert how == How(range=(0.0, 9.0)) and "domain b: data.range [0, 60]" in said and "data.exif false" in said


def test_members_that_learned_from_images_read_otherwise_are_named(run_of, read):
    one, two, three = run_of("one"), run_of("two", DARK), run_of("three")
    how, said = read(one, two)
    assert how == How() and f"{two}: data.range [0, 60], data.exif false" in said
    assert read(one, three) == (How(), "")


def test_masks_among_the_images_are_told(run_of, read, make_folder):
    root = make_folder()
    run = run_of("run", config=f"data: {{root: {root}}}")
    said = read(run, images=[root])[1]
    assert "masks lie there, too" in said and f"'{root / 'images'}'" in said
    assert "masks lie there, too" in read(run, images=[root.parent])[1]
    assert read(run, images=[root / "images", root / "images" / "photo0.jpg"])[1] == ""
    patterns = run_of("patterns", config="data: {images: 'images/{}.jpg', masks: 'masks/{}.png'}")
    assert "images/*.jpg" in read(patterns, images=[root])[1]


def test_masks_among_the_images_of_data_as_prepare_writes_them_are_told(run_of, read, make_folder):
    root = make_folder()
    (root / "masks").rename(root / "labels")
    for mask in (root / "labels").iterdir():
        mask.rename(mask.with_stem(f"{mask.stem}_mask"))
    # as `segkd prepare` writes them: without an extension they take any picture
    prepared = run_of("prepared", config=f"data: {{root: {root}, images: 'images/{{}}', masks: 'labels/{{}}_mask'}}")
    said = read(prepared, images=[root])[1]
    assert "masks lie there, too" in said and f"'{root / 'images' / '*.*'}'" in said


def test_a_loaded_student_reads_files_so(run_of, tmp_path):
    image = np.random.default_rng(0).integers(0, 80, (32, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    bright = np.rint(image.clip(0, 60) / 60 * 255).astype(np.uint8)
    found = segkd.load_model(run_of("dark", DARK)).predict(tmp_path / "a.png")
    np.testing.assert_array_equal(found, segkd.load_model(run_of("plain")).predict(bright))


def test_a_training_and_an_export_write_it_down(make_folder, run_cli, tmp_path, read):
    pytest.importorskip("onnxruntime")
    run = tmp_path / "run"
    settings = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16", "--data.size", "32",
                "--engine.epochs", "1", "--data.workers", "0", "--engine.device", "cpu"]  # fmt: skip
    data = ["--data.root", make_folder(), "--data.range", "[0, 200]", "--data.exif", "false"]
    status, out, err = run_cli("train", *data, *settings, "--out", run)
    assert status == 0, out + err
    status, out, err = run_cli("export", run)
    assert status == 0 and "data.range [0, 200], data.exif false" in out, out + err
    for name in ("student.onnx", "student.safetensors"):
        (run / name).rename(tmp_path / name)
        assert read(tmp_path / name) == (How(False, (0.0, 200.0)), "")
