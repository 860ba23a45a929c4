from pathlib import Path

import pytest
import yaml

from segkd.ablation.grid import describe
from segkd.ablation.identity import differences
from segkd.ablation.runner import Run
from segkd.experiment.settings import parse
from segkd.types import InputError
from tests.ablation.conftest import SMALL


def config(cell):
    return yaml.safe_load(cell.config)


def test_every_arm_meets_every_data_set_and_seed(resolved):
    _, cells = resolved(datasets={"one": {}, "two": {"set": {"data.embedded.contrast": 0.3}}}, seeds=[3, 5])
    assert {(c.arm, c.dataset, c.seed) for c in cells} == {
        (arm, data, seed) for arm in ("plain", "narrow") for data in ("one", "two") for seed in (3, 5)
    }
    assert len({c.name for c in cells}) == len(cells) == 8
    assert [config(c)["seed"] for c in cells] == [c.seed for c in cells]
    assert {c.dataset: config(c)["data"]["embedded"]["contrast"] for c in cells}["two"] == 0.3


def test_cells_that_differ_in_their_seed_alone_are_read_once_and_are_as_if_each_was(resolved, monkeypatch):
    arms = {"plain": {}, "told": {"set": {"data.embedded.test": "$seed"}}}
    alone = [cell for seed in (3, 5) for cell in resolved(arms=arms, seeds=[seed], splits=["val"])[1]]
    read = []
    monkeypatch.setattr("segkd.ablation.resolve.parse", lambda *given: read.append(given) or parse(*given))
    _, cells = resolved(arms=arms, seeds=[3, 5], splits=["val"])
    assert cells == alone and [config(cell)["seed"] for cell in cells] == [3, 3, 5, 5]
    assert len(read) == 3  # one arm names its seed


def test_seeds_are_outermost_so_that_half_a_grid_holds_whole_comparisons(resolved):
    _, cells = resolved(seeds=[1, 2])
    assert [c.seed for c in cells] == [1, 1, 2, 2]


def test_later_wins_base_then_data_set_then_arm(resolved, tmp_path):
    (tmp_path / "layer.yaml").write_text("optim: {lr: 0.5, warmup: 0.2}\n")
    _, cells = resolved(
        datasets={"embedded": {"set": {"optim.weight_decay": 0.25}}},
        arms={
            "plain": {},
            "arm": {"layers": ["layer.yaml"]},
            "own": {"set": {"optim.weight_decay": 0.125, "optim.lr": 0.75}},
        },
    )
    optim = {c.arm: config(c)["optim"] for c in cells}
    assert (optim["arm"]["lr"], optim["arm"]["weight_decay"]) == (0.5, 0.25)
    assert (optim["own"]["lr"], optim["own"]["weight_decay"]) == (0.75, 0.125)
    assert optim["plain"]["weight_decay"] == 0.25


def test_every_arm_is_planned_from_its_own_files_and_all_are_scored_on_the_same(resolved):
    few = {"few": {"set": {"data.embedded.train": 4}}, "plain": {}}
    _, cells = resolved(arms=few, seeds=[0], budget="free")
    assert [(c.arm, c.steps, c.images, c.identity["data"]["train"]["pairs"]) for c in cells] == [
        ("few", 2, 8, 4), ("plain", 4, 16, 8)]  # fmt: skip
    with pytest.raises(InputError, match="unequal budgets on embedded"):
        resolved(arms=few)
    words = r"embedded/plain/seed-0 and embedded/other/seed-0 would be scored on different val lists \(3 and 5 images\)"
    with pytest.raises(InputError, match=words):
        resolved(arms={"plain": {}, "other": {"set": {"data.embedded.val": 5}}})
    with pytest.raises(InputError, match="labels that are read in different ways"):
        resolved(arms={"plain": {}, "other": {"set": {"data.ignore": [7]}}})
    student = {"layers": ["methods/tf_kd_self.yaml"], "set": {"distiller.teachers.before.sources": ["$other"]}}
    other = {"set": {"data.embedded.val": 5}}  # a teacher may be of other data
    assert len(resolved(arms={"plain": {}, "other": other, "student": student}, seeds=[0], budget="free")[1]) == 3


def test_a_class_is_named_by_a_setting(resolved):
    arms = {"plain": {}, "other": {"set": {"model": "SmpNet", "model.architecture": "FPN"}}}
    base = {"layers": ["quickstart.yaml"], "set": {"data.embedded.train": 8, "data.embedded.side": 32, "data.size": 32}}
    _, cells = resolved(arms=arms, base=base)
    assert config(cells[1])["model"]["class_path"] == "segkd.models.smp.SmpNet"
    assert config(cells[0])["model"]["class_path"] == "segkd.models.network.FusionNet"


def test_data_sets_are_found_by_name_below_a_folder(resolved, make_folder, tmp_path):
    root = make_folder(12, name="mine")
    (root / "test.txt").write_text("photo0\nphoto1\n")
    plain = {"data.size": 32, "data.batch_size": 2, "model.encoder": "test_efficientnet", "model.weights": None}
    _, cells = resolved(data_root=str(tmp_path), base={"set": plain}, datasets={"mine": {}})
    assert config(cells[0])["data"]["root"] == str(root)
    assert cells[0].identity["data"]["test"]["pairs"] == 2
    # 8 images for training, 4 steps an epoch: nobody says how many epochs, so they are planned, and the cell says them
    assert cells[0].steps == 1000 and config(cells[0])["engine"]["epochs"] == 250


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"arms": {"plain": {}, "bad": {"set": {"optim.lrr": 1}}}},
            "arm bad, data set embedded: unknown key optim.lrr",
        ),
        ({"arms": {"plain": {}, "bad": {"layers": ["no.yaml"]}}}, "arm bad.*found no no.yaml below"),
        ({"arms": {"plain": {}, "bad": {"set": {"model.encoder": "nonsense"}}}}, "arm bad.*encoder"),
        ({"arms": {"plain": {}, "bad": {"set": {"model": "Nonsense"}}}}, "arm bad.*model: expected a class of segkd"),
        (
            {"arms": {"plain": {}, "bad": {"set": {"data.batch_size": 2}}}},
            "unequal budgets on embedded: plain takes 4 steps and sees 16 images, bad takes 8",
        ),
        ({"arms": {"plain": {}, "bad": {"set": {"engine.epochs": 3}}}}, "unequal budgets.*budget: free"),
        ({"arms": {"plain": {}, "bad": {"set": {"engine.patience": 3}}}}, "arm bad: engine.patience 3 ends trainings"),
        ({"datasets": {"mine": {"set": {"data.root": "/nowhere", "data.embedded": None}}}}, "data set mine.*/nowhere"),
    ],
)
def test_faults_speak_before_anything_runs(resolved, keys, words):
    with pytest.raises(InputError, match=words):
        resolved(**keys)


def test_unequal_budgets_are_possible_when_asked_for(resolved):
    _, cells = resolved(budget="free", arms={"plain": {}, "long": {"set": {"engine.epochs": 5}}})
    assert {c.arm: (c.steps, c.images) for c in cells} == {"plain": (4, 16), "long": (10, 40)}


def test_seeds_that_train_on_parts_of_different_sizes_have_equal_budgets(resolved, tmp_path):
    base = {"layers": ["quickstart.yaml"], "set": SMALL | {
        "data.embedded.train": 40, "data.only_fold": ["$seed", 3], "data.batch_size": 2}}  # fmt: skip
    grid, cells = resolved(base=base)
    assert len({cell.steps for cell in cells}) == 2
    said = describe(grid, cells, Run(tmp_path, 1, 1, "local"))
    assert any(line.startswith("budget on embedded") and line.endswith("the same for all arms") for line in said)
    assert not any("without a label" in line for line in said)
    grid, cells = resolved(base=base, arms={"plain": {}, "more": {"set": {"data.unlabelled": "images"}}})
    said = describe(grid, cells, Run(tmp_path, 1, 1, "local"))
    assert "embedded: images without a label beside these in each step of more" in said
    with pytest.raises(InputError, match=r"unequal budgets on embedded: plain takes .*, narrow takes"):
        resolved(base=base, arms={"plain": {}, "narrow": {"set": {"engine.epochs": 3}}})


def test_accumulation_counts_steps_and_images_apart(resolved):
    arms = {"plain": {"set": {"data.batch_size": 2, "engine.accumulate": 2}}}
    _, cells = resolved(arms=arms)
    assert (cells[0].steps, cells[0].images) == (4, 16)


def test_a_missing_test_split_is_refused_unless_it_is_not_asked_for(resolved, make_folder):
    root = make_folder(8)
    base = {"set": {"data.size": 32, "data.batch_size": 2, "model.encoder": "test_efficientnet", "model.weights": None}}
    folder = {"mine": {"set": {"data.root": str(root)}}}
    with pytest.raises(InputError, match="no test split to score on"):
        resolved(base=base, datasets=folder)
    assert resolved(base=base, datasets=folder, splits=["val"])[1]


def test_every_option_of_tune_becomes_a_cell_of_its_own(resolved):
    _, cells = resolved(tune=[{"optim.lr": 0.1}, {"optim.lr": 0.2}], seeds=[0])
    assert [(c.arm, c.option, config(c)["optim"]["lr"]) for c in cells] == [
        ("plain", 0, 0.1), ("plain", 1, 0.2), ("narrow", 0, 0.1), ("narrow", 1, 0.2),
    ]  # fmt: skip
    assert len({c.name for c in cells}) == 4


SELF = {"layers": ["methods/tf_kd_self.yaml"], "set": {"distiller.teachers.before.sources": ["$plain"]}}


def test_an_arm_may_name_another_s_run_of_the_same_data_set_and_seed(resolved, tmp_path):
    _, cells = resolved(arms={"pupil": SELF, "plain": {}})
    pupil = next(cell for cell in cells if cell.arm == "pupil" and cell.seed == 1)
    assert pupil.needs == ("embedded/plain/seed-1",)
    assert str(Path("grid").resolve() / "cells/embedded/plain/seed-1/run") in pupil.config
    assert str(Path("grid").resolve()) not in str(pupil.identity)  # a moved grid stays valid


def test_what_an_arm_needs_is_part_of_what_its_result_depends_on(resolved):
    def needs(**plain):
        _, cells = resolved(arms={"pupil": SELF, "plain": plain, "other": {}})
        found = {cell.arm: cell.identity for cell in cells if cell.seed == 0}
        return found["pupil"], found["other"]

    (pupil, other), (after, same) = needs(), needs(set={"optim.lr": 0.001})
    assert other == same
    assert differences(pupil, after) and "needs.plain" in differences(pupil, after)[0]


def test_an_arm_may_read_the_runs_of_all_seeds_and_the_seed_may_be_a_setting(resolved):
    sources = "distiller.teachers.before.sources"
    arms = {
        "plain": {"set": {"data.only_fold": ["$seed", 4], "data.batch_size": 2}},
        "mean": {"layers": ["methods/tf_kd_self.yaml"], "set": {sources: ["$plain*"]}},
    }
    _, cells = resolved(arms=arms, seeds=[0, 1, 3], budget="free", splits=["train", "val"])
    assert [config(c)["data"]["only_fold"] for c in cells if c.arm == "plain"] == [[0, 4], [1, 4], [3, 4]]
    assert all(c.identity["data"]["train"]["pairs"] == 2 for c in cells if c.arm == "plain")
    needed = tuple(f"embedded/plain/seed-{seed}" for seed in (0, 1, 3))
    for cell in cells[1::2]:
        assert cell.arm == "mean" and cell.needs == needed
        found = config(cell)["distiller"]["teachers"]["before"]["init_args"]["sources"]
        assert [Path(one).parent.name for one in found] == ["seed-0", "seed-1", "seed-3"]


def test_a_data_set_may_name_an_arm_s_run_and_a_layer_may_not(resolved, tmp_path):
    layers = {"layers": ["methods/tf_kd_self.yaml"]}
    part = {"set": {"distiller.teachers.before.sources": ["$plain"]}}
    with pytest.raises(InputError, match="plain needs its own run in the end"):
        resolved(arms={"pupil": layers, "plain": layers}, datasets={"embedded": part})
    text = "distiller: {teachers: {before: {class_path: Frozen, init_args: {sources: [$plain]}}}}"
    (tmp_path / "layer.yaml").write_text(text)
    with pytest.raises(InputError, match=r"layer names the run \$plain at .*in `set` of the arm: .*\[\$plain\]"):
        resolved(arms={"plain": {}, "pupil": {"layers": ["methods/tf_kd_self.yaml", "layer.yaml"]}})


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"pupil": SELF}, r"\$plain is no arm of the grid; arms are pupil"),
        ({"plain": SELF}, "needs its own run in the end"),
    ],
)
def test_runs_that_cannot_be_had_are_refused(resolved, arms, said):
    with pytest.raises(InputError, match=said):
        resolved(arms=arms)


def test_a_tuned_arm_has_no_one_run(resolved):
    with pytest.raises(InputError, match="Leave out tune"):
        resolved(arms={"pupil": SELF, "plain": {}}, tune=[{}, {"optim.lr": 0.001}])


def test_a_recipe_that_does_not_fit_its_batch_speaks_when_the_grid_is_resolved(resolved):
    arms = {"plain": {}, "mixed": {"layers": ["methods/cutmix.yaml"]}}
    with pytest.raises(InputError, match=r"arm mixed, .*data\.batch_size must be at least 2"):
        resolved(arms=arms, base={"set": SMALL | {"data.batch_size": 1, "data.size": 64, "data.embedded.side": 64}})


def test_a_schedule_is_a_setting_like_any_other(resolved):
    weight = {0.0: 0.0, 0.5: 1e-05, 1.0: 2.0}
    arms = {
        "plain": {},
        "late": {"layers": ["methods/virtual_teacher.yaml"], "set": {"distiller.terms.response.weight": weight}},
    }
    _, cells = resolved(arms=arms)
    assert config(cells[1])["distiller"]["terms"]["response"]["weight"] == weight


def test_a_plan_says_where_no_test_can_reach_significance(resolved, tmp_path):
    for seeds, said in (([0, 1, 2], "p cannot fall below 0.2500 after Holm"), ([*range(6)], None)):
        grid, cells = resolved(seeds=seeds)
        found = [line for line in describe(grid, cells, Run(tmp_path, 1, 1, "local")) if "cannot fall" in line]
        assert (said in found[0]) if said else not found


def test_one_of_a_thing_is_no_plural(resolved, tmp_path):
    grid, cells = resolved(seeds=[0])
    said = describe(grid, cells, Run(tmp_path, 1, 1, "local"))
    assert said[0].startswith("2 arms x 1 data set x 1 seed = 2 cells;")
    assert any(line.startswith("1 pair and 1 arm beside the baseline: ") for line in said)


def test_a_budget_of_few_steps_is_said_to_say_little(resolved, tmp_path):
    for epochs, few in ((2, True), (300, False)):
        grid, cells = resolved(datasets={"embedded": {"set": {"engine.epochs": epochs}}})
        lines = describe(grid, cells, Run(tmp_path, 1, 1, "local"))
        assert any("budget on embedded" in line for line in lines)
        assert any("such a budget says little" in line for line in lines) is few
