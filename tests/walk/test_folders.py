"""Folders as strangers have them, through whole commands: odd names, links, splits by folder, files passed over."""

import csv
import json
import os
import shutil

import pytest

from tests.conftest import TINY

TINY_MODEL = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]
SHORT = ["--data.size", "32", "--data.batch_size", "4", "--engine.epochs", "1", "--data.workers", "0"]
ODD = os.fsdecode(b"caf\xe9 [b] 1")


@pytest.fixture
def odd(make_folder):
    """A folder one of whose names has a byte that is not UTF-8; that one is to validate and to test on."""
    root = make_folder(n=5)
    for what, extension in (("images", "jpg"), ("masks", "png")):
        (root / what / f"photo0.{extension}").rename(root / what / f"{ODD}.{extension}")
    for name in ("val", "test"):
        (root / f"{name}.txt").write_bytes(os.fsencode(f"{ODD if name == 'val' else 'photo1'}\n"))
    return root


def test_a_name_that_is_not_utf8_goes_through_every_command(odd, run_cli, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    for arguments in (
        ("train", "--data.root", odd, *TINY_MODEL, *SHORT, "--out", run),
        ("evaluate", "--run", run, "--split", "val", "--device", "cpu", "--out", out / "run"),
        ("predict", "--run", run, "--images", odd / "images", "--out", out / "masks"),
        ("evaluate", "--predictions", out / "masks", "--labels", odd / "masks", "--out", out / "maps"),
        ("evaluate", "--predictions", out / "masks", "--labels", odd / "masks", "--list", odd / "val.txt"),
        ("sheet", "--data.root", odd, "--split", "val", "--out", out / "sheet.png"),
    ):
        status, said, err = run_cli(*arguments)
        assert status == 0 and "Traceback" not in err, said + err
    assert (out / "masks" / f"{ODD}.png").is_file() and (out / "sheet.png").is_file()
    for folder, number in (("run", 1), ("maps", 5)):
        with (out / folder / "per_image.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == number and any("caf" in row["id"] for row in rows)
        assert json.loads((out / folder / "scores.json").read_text(encoding="utf-8"))["n_images"] == number


def test_linked_folders_are_data_for_every_command_and_what_is_passed_over_is_said(make_folder, run_cli, tmp_path):
    store, root, run = make_folder(n=5, name="store"), tmp_path / "root", tmp_path / "run"
    for what in ("images", "masks"):
        (root / what).mkdir(parents=True)
        (root / what / "A").symlink_to(store / what)
    os.mkfifo(root / "masks" / "pipe.png")
    (root / "images" / "phone.heic").write_bytes(b"x")
    (root / "masks" / ".ipynb_checkpoints").mkdir()
    shutil.copy(store / "masks" / "photo0.png", root / "masks" / ".ipynb_checkpoints" / "a.png")
    status, said, err = run_cli("train", "--data.root", root, *TINY_MODEL, *SHORT, "--out", run)
    assert status == 0 and "4 train, 1 val images" in said, said + err
    assert "images: passed over 1 file: phone.heic (no reader)" in said and "pipe.png (no regular file)" in said
    status, said, err = run_cli("evaluate", "--run", run, "--split", "val", "--device", "cpu")
    assert status == 0 and "phone.heic (no reader)" in said, said + err
    status, said, err = run_cli("predict", "--run", run, "--images", root / "images", "--out", tmp_path / "p")
    assert status == 0 and "passed over 1 file: phone.heic" in said and "5 predictions" in said, said + err
    status, said, err = run_cli("evaluate", "--predictions", tmp_path / "p", "--labels", root / "masks")
    assert status == 2 and "(5 images)" in said and "pipe.png: expected a file, found no regular file" in said + err


def test_split_folders_patterns_and_groups_reach_a_run(make_folder, run_cli, tmp_path):
    root, other = make_folder(n=6), tmp_path / "split"
    for number in range(6):
        split = "valid" if number < 2 else "train"
        for what, extension, ending in (("images", "jpg", ""), ("masks", "png", "_mask")):
            target = other / split / what / f"p{number // 2}_{number}{ending}.{extension}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / what / f"photo{number}.{extension}", target)
    base = ["--data.root", other, *TINY_MODEL, *SHORT]
    status, _, err = run_cli("train", *base, "--out", tmp_path / "a")
    assert status == 2 and 'data.masks: "masks/{}_mask.png"' in err, err
    status, said, err = run_cli("train", *base, "--data.masks", "masks/{}_mask.png", "--out", tmp_path / "a")
    assert status == 0 and "4 train, 2 val (split by the folders train, valid) images" in said, said + err
    flat = ["--data.images", "train/images", "--data.masks", "train/masks/{}_mask.png", "--data.group", "p(\\d)_"]
    status, said, err = run_cli("train", *base, *flat, "--out", tmp_path / "b")
    assert status == 0 and "2 train, 2 val" in said and "write data.val: valid" in said, said + err
    status, said, err = run_cli("train", *base, *flat, "--data.val", "valid", "--out", tmp_path / "c")
    assert status == 0 and "4 train, 2 val" in said and "warning: " not in said.split("model:")[0], said + err
    status, said, err = run_cli("evaluate", "--run", tmp_path / "c", "--split", "val", "--device", "cpu")
    assert status == 0 and "val (2 images)" in said, said + err
