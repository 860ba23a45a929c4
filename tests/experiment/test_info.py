import re

import pytest

from segkd.experiment.about import facts_of, recipe_of
from segkd.experiment.info import layers_of
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, save_student
from tests.conftest import TINY

CARD = ModelCard(
    "segkd.models.network.FusionNet",
    {"classes": 3, "encoder": TINY, "weights": None, "width": 16},
    ["sky", "road", "car"],
    (32, 48),
    scores={"miou_dataset": 0.71234, "hd95": None},
    step=40,
)
CONFIG = """
seed: 3
data: {root: /photos/streets, batch_size: 4}
engine: {epochs: 7}
distiller:
  teachers: {label: {class_path: segkd.distill.teachers.label.LabelTeacher}}
  terms: {response: {knowledge: {class_path: segkd.distill.knowledge.response.Response}, teacher: label, weight: 0.5}}
disturbance: {class_path: segkd.frequency.mix.SpectralMix}
"""


@pytest.fixture
def run(tmp_path):
    save_student(tmp_path / "run", FusionNet(**CARD.init_args), CARD)
    return tmp_path / "run"


def test_a_run_says_classes_scores_data_recipe_and_cost(run, run_cli):
    (run / "config.yaml").write_text(CONFIG)
    found = "9 train images; cached in memory (0.01 GB); 5 images without a label (more), read from disk each time"
    (run / "environment.json").write_text(f'[{{"data": "{found}"}}]')
    status, out, err = run_cli("info", run, "--runs", 1, "--depth", 1)
    assert status == 0, err
    for said in ("0 sky, 1 road, 2 car", "at 32x48, step 40 of 7 epochs, batch size 4, seed 3", "miou_dataset 0.7123",
                 "/photos/streets 9 train images; 5 images without a label (more)\n", "GMACs", "p95",
                 "teacher label: LabelTeacher",
                 "term response: Response of label, weight 0.5; disturbance SpectralMix"):  # fmt: skip
        assert said in out, said
    assert "hd95" not in out and "cached" not in out and "from disk" not in out and "foreground is p" not in out


def test_a_lone_student_is_enough_and_settings_beside_a_run_are_refused(run, run_cli):
    status, out, _ = run_cli("info", run, "--runs", 1, "--depth", 0)
    assert status == 0 and "FusionNet" in out and "recipe" not in out and "layers" not in out
    status, _, err = run_cli("info", run, "--model.width", 8)
    assert status == 2 and "has no effect on a run" in err
    status, _, err = run_cli("info", run, "--runs", 0)
    assert status == 2 and "--runs" in err


def test_a_configuration_that_holds_anything_else_costs_no_traceback():
    for odd in ({"distiller": 3}, {"distiller": {"teachers": [1], "terms": {"a": None}}}, {"disturbance": "x"}):
        assert isinstance(recipe_of(odd), str)
    assert recipe_of({"distiller": {"teachers": {}}}) == "none: the task loss alone"


def test_facts_of_a_folder_with_nothing_but_weights(run):
    assert set(facts_of(run, CARD)) == {"classes", "trained"}


def test_layers_are_the_paths_that_a_network_finds_with_what_they_give():
    network = FusionNet(2, TINY, None, 16).eval()
    rows = {path: (kind, parameters, gave) for path, kind, parameters, gave in layers_of(network, (32, 48), 2)}
    assert all(network.layer(path) is not None for path in rows)
    assert max(path.count(".") for path in rows) == 1
    assert rows["head"][0] == type(network.head).__name__ and re.fullmatch(r"2 x \d+x\d+", rows["head"][2])
    assert rows["encoder"][1] == sum(p.numel() for p in network.encoder.parameters())
    assert rows["encoder"][2].count(" x ") == len(network.encoder.channels)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_by_name_and_a_layer_are_built_without_weights(run_cli):
    small = ["--model.encoder", TINY, "--data.size", "32", "--runs", 1, "--depth", 0]
    status, out, err = run_cli("info", "FusionNet", *small, "--model.width=16", "--data.classes", "[a, b, c]")
    assert status == 0 and "at 32x32" in out, err
    status, out, err = run_cli("info", "methods/mean_teacher.yaml", *small)
    assert status == 0 and "FusionNet" in out, err
    for wrong in ("FusionNot", "runs/none", "methods/none.yaml"):
        status, _, err = run_cli("info", wrong)
        assert status == 2 and "Traceback" not in err and wrong in err
    assert "no such run folder or layer" in run_cli("info", "nosuch")[2]


def test_a_size_that_no_training_takes_is_refused(run_cli):
    status, _, err = run_cli("info", "FusionNet", "--model.encoder", TINY, "--model.weights", "null", "--data.size", 0)
    assert status == 2 and "data.size is [0, 0]" in err and "32 pixels" in err


def test_an_onnx_file_of_segkd_says_what_it_states_and_costs(tmp_path, run_cli):
    pytest.importorskip("onnxruntime")
    from segkd.models.signature import Statement
    from tests.models.graphs import TWO, node, save

    told = Statement("logits", ["ground", "leaf"], (32, 48), 0.37, 40, "0.1.0")
    path = save(tmp_path / "n.onnx", [node("Conv", ["image", "w", "c"], "out")], constants=TWO,
                metadata=told.metadata())  # fmt: skip
    status, out, err = run_cli("info", path, "--runs", 1)
    assert status == 0, err
    for said in ("by segkd export", "image float32 [b 3 h w]: fed RGB in 0..1\n", "0 ground, 1 leaf", "logits", "p50",
                 "8 parameters", "9,216 MACs", "at 32x48, step 40", "p >= 0.370", "segkd 0.1.0"):  # fmt: skip
        assert said in out, (said, out)  # a 1 x 1 convolution of 3 channels to 2, at 32 x 48: 9216
    status, _, err = run_cli("info", path, "--data.size", 8)
    assert status == 2 and "has no effect" in err
    assert run_cli("info", tmp_path / "none.onnx")[0] == 2


def test_a_foreign_onnx_file_says_its_tensors_and_what_it_does_not_state(tmp_path, run_cli):
    pytest.importorskip("onnxruntime")
    from tests.models.graphs import CONV, KERNEL, node, save

    nodes = [CONV, node("Sigmoid", "z", "out")]
    path = save(tmp_path / "fixed.onnx", nodes, axes=(2, 3, 16, 24), constants=KERNEL)
    status, out, err = run_cli("info", path, "--runs", 1)
    assert status == 0, err
    for said in ("not by segkd", "image float32 [2 3 16 24]: fed RGB in 0..1 normalised by mean 0.485", "not stated",
                 "1,152 MACs at 16x24", "forward passes of 2 images"):  # fmt: skip
        assert said in out, (said, out)
    path = save(tmp_path / "two.onnx", [*nodes, node("Identity", "more", "x")], constants=KERNEL, more=("more",))
    status, out, err = run_cli("info", path)
    assert status == 0 and "expected one input, the image; found 2" in out and "p50" not in out, out + err
