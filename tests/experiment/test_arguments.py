"""The data of a run stand for those that a command line does not name."""

import pytest

from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, save_student
from tests.conftest import TINY

ARGUMENTS = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}


@pytest.fixture
def run(tmp_path):
    """A run folder with a student alone."""
    card = ModelCard("segkd.models.network.FusionNet", ARGUMENTS, ["background", "foreground"], (32, 32))
    save_student(tmp_path / "run", FusionNet(**ARGUMENTS), card)
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["parquet: hf://datasets/some/body", "parquet: shards", "embedded: {train: 4}"])
def test_a_folder_that_is_named_takes_the_place_of_the_runs_own_data(run, make_folder, run_cli, place):
    (run / "config.yaml").write_text(f"data: {{{place}, size: 32, workers: 0}}")
    root = make_folder()
    for said in (["--data.root", root], [f"--data.root={root}"]):
        status, out, err = run_cli("evaluate", "--run", run, *said, "--split", "val")
        assert status == 0, out + err


def test_generated_images_of_a_run_may_be_others(run, run_cli):
    (run / "config.yaml").write_text("data: {embedded: {train: 4, val: 2, side: 32}, size: 32, workers: 0}")
    status, out, err = run_cli("evaluate", "--run", run, "--data.embedded.val", 3, "--split", "val")
    assert status == 0 and "3 images" in out, out + err


def test_a_mistake_in_the_configuration_of_a_run_is_said_to_be_there(run, run_cli):
    mistakes = {
        "{rooot: x}": "unknown key data.rooot",
        "{size: x}": "data.size",
        "{root: 5}": "data.root: expected str",
    }
    for content, said in mistakes.items():
        (run / "config.yaml").write_text(f"data: {content}")
        status, _, err = run_cli("evaluate", "--run", run, "--split", "val")
        assert status == 2 and f"{run / 'config.yaml'}: {said}" in " ".join(err.split()) and "--config" not in err, err


def test_a_student_alone_asks_for_a_layer(run, make_folder, run_cli):
    root = make_folder()
    for command in (["evaluate", "--run", run], ["export", run]):
        status, _, err = run_cli(*command, "--data.root", root)
        assert status == 2 and "--data LAYER" in err, err
    layer = root / "layer.yaml"
    layer.write_text("data: {root: ., size: 32, workers: 0}")
    assert run_cli("evaluate", "--run", run, "--data", layer, "--split", "val")[0] == 0
