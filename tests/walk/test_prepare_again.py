"""`segkd prepare` once more: after an error, and into folds."""

import numpy as np
from PIL import Image

from tests.datasets.test_prepare_coco import annotation, coco, data_set, picture


def test_the_corrected_command_follows_a_failed_one(tmp_path, run_cli):
    root = tmp_path / "cats"
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    coco(root / "a.json", [annotation(i, 1 + i % 2) for i in range(4)], data_set(root, 4), categories)
    before = sorted(tmp_path.iterdir())
    for told, words in (
        (["--folds", 9], "--folds 9"),
        (["--group", "(nowhere)"], "occurs in none"),
    ):
        status, _, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml", *told)
        assert status == 2 and words in " ".join(err.split()), err
        assert sorted(tmp_path.iterdir()) == before
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "cats.yaml")
    assert status == 0, out + err
    assert "Train: segkd train --config methods/virtual_teacher.yaml --config" in " ".join(out.split()), (
        "with a teacher"
    )


def test_copies_of_an_image_are_in_one_fold(tmp_path, run_cli):
    root = tmp_path / "copies"
    for i in range(12):
        picture(root / "images" / f"{i:02d}.png", seed=i % 9)
        (root / "masks").mkdir(exist_ok=True)
        mask = np.zeros((96, 128), np.uint8)
        mask[20:60, 30:90] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i:02d}.png")
    status, out, err = run_cli("prepare", root, "--out", tmp_path / "data.yaml", "--folds", 3)
    assert status == 0 and "6 images look like others" in " ".join((out + err).split()), out + err
    for number in range(3):
        val = (tmp_path / "data.prepared" / f"fold{number}-val.txt").read_text().split()
        assert all((f"{i:02d}" in val) == (f"{i + 9:02d}" in val) for i in range(3)), val
