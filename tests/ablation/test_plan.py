import pytest

from segkd.ablation.plan import Grid, Part, grid_parser, narrowed, read_grid
from segkd.types import InputError


def read(path, *more):
    return read_grid(grid_parser(), ["--config", str(path), *more])[1]


def test_a_grid_is_read_and_its_first_arm_is_the_baseline(grid_file):
    grid = read(grid_file())
    assert list(grid.arms) == ["plain", "narrow"] and grid.baseline == "plain"
    assert grid.arms["narrow"].set == {"model.width": 8} and grid.base.layers == ["quickstart.yaml"]
    assert grid.splits == ["val", "test"] and grid.budget == "equal"


def test_the_command_line_wins_over_the_file(grid_file):
    assert read(grid_file(), "--seeds", "[7]").seeds == [7]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"baseline": "other"}, "baseline: expected one of the arms plain, narrow, found 'other'"),
        ({"seeds": [1, 1]}, r"seeds: expected at least one, each once, found \[1, 1\]"),
        ({"seeds": []}, "seeds: expected at least one"),
        ({"splits": []}, "splits: expected at least one"),
        ({"arms": {"a/b": {}}}, "'a/b' names folders"),
        ({"arms": {"..": {}}}, "names folders"),
        ({"splits": ["tset"]}, "splits"),
        ({"budget": "fair"}, "budget"),
        ({"seed": 3}, "unknown key seed"),
        ({"arms": {"a": {"layer": ["x"]}}}, "layer"),
        ({"base": {"set": 3}}, "set"),
    ],
)
def test_a_mistake_in_a_grid_is_one_paragraph(grid_file, keys, words):
    with pytest.raises(InputError, match=words) as caught:
        read(grid_file(**keys))
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 800


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        read(tmp_path / "nowhere.yaml")


def test_a_grid_can_be_narrowed_to_some_arms_and_data_sets():
    grid = Grid({"a": Part(), "b": Part(), "c": Part()}, {"x": Part(), "y": Part()}, baseline="a")
    some = narrowed(grid, ["b", "a", "y"])
    assert list(some.arms) == ["a", "b"] and list(some.datasets) == ["y"] and some.baseline == "a"
    assert narrowed(grid, ["c"]).baseline == "c" and list(narrowed(grid, ["c"]).datasets) == ["x", "y"]
    assert narrowed(grid, []) == grid
    with pytest.raises(InputError, match=r"arms \(a, b, c\) or data sets \(x, y\), found z"):
        narrowed(grid, ["a", "z"])


def test_arms_come_with_those_whose_runs_they_read():
    arms = {
        "a": Part(),
        "b": Part(set={"init": "$a"}),
        "c": Part(set={"x": ["$b*"]}),
        "d": Part(),
        "e": Part(set={"y": "$q"}),
    }
    grid = Grid(arms, {"x": Part()}, baseline="d")
    assert list(narrowed(grid, ["c"]).arms) == ["a", "b", "c"]
    assert list(narrowed(grid, ["b", "d"]).arms) == ["a", "b", "d"]
    assert list(narrowed(grid, ["e"]).arms) == ["e"]  # what is no arm is refused when the grid is resolved
    circle = Grid({"a": Part(set={"init": "$b"}), "b": Part(set={"init": "$a"}), "c": Part()}, {"x": Part()})
    assert list(narrowed(circle, ["a"]).arms) == ["a", "b"]


def test_a_key_twice_in_a_plan_is_refused_with_its_lines(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("arms: {a: {}}\ndatasets: {d: {}}\narms: {b: {}}\n")
    with pytest.raises(InputError, match=r"grid\.yaml: .* the key 'arms' twice in one map, in lines 1 and 3"):
        read(path)


@pytest.mark.parametrize("option", ["--processes", "--threads"])
@pytest.mark.parametrize("number", ["0", "-1"])
def test_no_processes_and_no_threads_are_refused(grid_file, tmp_path, run_cli, option, number):
    status, _, err = run_cli("ablate", "--config", grid_file(), "--out", tmp_path / "grid", option, number)
    assert status == 2 and "must be at least 1" in err


@pytest.mark.parametrize("only", [True, False])
def test_a_part_of_a_grid_that_tunes_says_that_the_rest_is_left_out(grid_file, tmp_path, run_cli, only):
    words = ["--config", grid_file(tune=[{"optim.lr": 0.1}]), "--out", tmp_path / "grid", "--dry-run"]
    status, out, _ = run_cli("ablate", *words, *(["--only", "plain"] if only else []))
    assert status == 0 and ("are of this part alone" in out) is only


def test_a_dry_run_names_what_would_run_and_trains_nothing(grid_file, tmp_path, run_cli):
    out = tmp_path / "grid"
    status, said, _ = run_cli("ablate", "--config", grid_file(), "--out", out, "--only", "narrow", "--dry-run")
    assert status == 0 and "would run: embedded/narrow  seed 0, 1 (new)" in said and "plain" not in said
    assert "2 cells would run" in said and "done" not in said and not out.exists()
