import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from jsonargparse import Namespace
from rich.console import Console

from segkd.ablation.comparison import report
from segkd.ablation.curves import Record, records_of, write_curves
from segkd.ablation.rows import SCORES, Row, read_rows, write_rows
from segkd.ablation.runs import arm_names, what_differs
from segkd.ablation.sources import gather, rows_of_grid
from segkd.metrics.protocol import PLAIN, fingerprint
from segkd.types import InputError
from tests.ablation.conftest import SMALL


def row(arm, seed, value, split="test", dataset="data"):
    return Row(arm, dataset, seed, split, dict.fromkeys(SCORES, value), 10, 40, 5.0 + seed, "abc")


ROWS = [row(arm, seed, base + seed / 100) for arm, base in (("a", 0.5), ("b", 0.7), ("c", 0.6)) for seed in range(4)]


def wanted(**keys):
    return Namespace(**({"split": None, "scores": None, "baseline": None} | keys))


def judged(path, arm_scores=0.5, **changes):
    print_ = fingerprint(PLAIN, 0.5) | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict.fromkeys(SCORES, arm_scores) | {"dataset": "ecssd", "fingerprint": print_}))
    return str(path)


def said(rows, tmp_path, out=None, **keys):
    with (tmp_path / "said.txt").open("w", encoding="utf-8") as file:
        report(rows, wanted(**keys), out, Console(file=file, width=100))
    return (tmp_path / "said.txt").read_text(encoding="utf-8")


def test_a_grid_and_a_csv_file_are_read(tmp_path):
    write_rows(tmp_path / "cells.csv", ROWS[:4])
    write_rows(tmp_path / "other.csv", ROWS[4:])
    rows, apart = gather([str(tmp_path), str(tmp_path / "other.csv")], "val")
    assert rows == ROWS and apart == []


def test_means_by_data_set_are_printed_where_there_are_several(tmp_path):
    alone = said(ROWS, tmp_path, scores=["f_mean"])
    assert "/ baseline" not in alone and alone.split("━")[0].count("f_mean") == 1
    more = [replace(one, dataset="more", seconds=one.seconds * (2 if one.arm == "b" else 1)) for one in ROWS]
    both = said(ROWS + more, tmp_path, scores=["f_mean"])
    [line] = [text.split("│") for text in both.splitlines() if text.startswith("b ") and text.endswith("1.41")]
    assert len(line) == 4 and "0.7150" in line[1] and "0.7150" in line[2]  # twice the time on one of two sets


def test_an_arm_of_one_name_in_two_grids_is_said_where_its_settings_differ(tmp_path):
    for grid, seed, rate in (("a", 0, 0.1), ("b", 1, 0.2), ("c", 2, 0.1)):
        folder = tmp_path / grid / "cells" / "data" / "plain" / f"seed-{seed}" / "run"
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").touch()
        init = (folder.parents[2] / "base" / f"seed-{seed}" / "run").resolve()  # as $base in a grid
        (folder / "config.yaml").write_text(
            f"seed: {seed}\ninit: {init}\ndata: {{root: {grid}}}\noptim: {{lr: {rate}}}\n"
        )
        write_rows(tmp_path / grid / "cells.csv", [row("plain", seed, 0.5)])
    sources = [str(tmp_path / grid) for grid in "abc"]
    assert gather(sources[::2], None)[1] == [] == gather(sources[:1], None)[1]
    [said_] = gather(sources, None)[1]
    apart = f"optim.lr: {sources[0]} 0.1, {sources[1]} 0.2"
    assert said_.startswith(f"warning: plain is one arm, but was trained on data by other settings: {apart}. Where")


def test_the_same_cell_twice_is_refused(tmp_path):
    write_rows(tmp_path / "cells.csv", ROWS)
    rows, _ = gather([str(tmp_path), str(tmp_path)], "val")
    with pytest.raises(InputError, match="data"):
        said(rows, tmp_path)


def test_what_is_no_source_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected a run folder, the folder of a grid, .* or a scores\.json"):
        gather([str(tmp_path / "nothing")], "val")


def test_tables_and_plots_are_printed_and_written(tmp_path):
    text = said(ROWS, tmp_path, tmp_path / "out")
    assert "+0.2000" in text and "baseline a" in text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    plots = {f"{kind}_{score}.{end}" for kind in ("gain", "cost_gain", "critical_difference")
             for score in ("miou_image", "f_mean") for end in ("png", "svg")}  # fmt: skip
    assert names == plots | {"cells.csv", "table.md", "table.tex"}
    assert read_rows(tmp_path / "out" / "cells.csv") == ROWS
    assert "+0.2000" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_curves_of_an_earlier_comparison_do_not_stay_beside_the_rows_of_another(tmp_path):
    write_curves(tmp_path / "out" / "curves.csv", [Record("a", "data", 0, {10: {"f_mean": 0.1}})])
    said(ROWS, tmp_path, tmp_path / "out")
    assert records_of(rows_of_grid(tmp_path / "out")) == []
    assert (tmp_path / "out" / "curves.before.csv").is_file()
    (tmp_path / "out" / "curves.csv").write_text("epoch,loss\n1,2\n")  # of another tool
    said(ROWS, tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "curves.csv").is_file()


@pytest.mark.parametrize("kind", ["grid", "run"])
def test_tables_do_not_replace_the_files_of_a_grid_or_a_run(tmp_path, run_cli, kind):
    place = tmp_path / kind
    (place / "cells").mkdir(parents=True) if kind == "grid" else place.mkdir()
    write_rows(place / "cells.csv", [*ROWS, *(replace(r, split="val") for r in ROWS)])
    if kind == "run":
        (place / "config.yaml").write_text("seed: 0\n")
    before = (place / "cells.csv").read_bytes()
    status, _, err = run_cli("compare", place, "--out", place)
    assert status == 2 and f"Write --out {place / 'tables'}." in err and (place / "cells.csv").read_bytes() == before
    assert run_cli("compare", place, "--out", place / "tables")[0] == 0


def test_names_that_no_terminal_and_no_file_can_hold_are_written_as_escapes(tmp_path, run_cli):
    write_rows(
        tmp_path / "cells.csv", [replace(r, arm="b\x1b[31m", dataset="d\x07") if r.arm == "b" else r for r in ROWS]
    )
    status, out, err = run_cli("compare", tmp_path, "--scores", "[f_mean]", "--out", tmp_path / "out")
    assert status == 0, err
    for text in (out, (tmp_path / "out" / "table.md").read_text(), (tmp_path / "out" / "cells.csv").read_text()):
        assert "\x1b" not in text and "\x07" not in text and "x1b" in text and "x07" in text
    folder = tmp_path / os.fsdecode(b"\xff")
    judged(folder / "scores.json")
    rows, _ = gather([str(folder)], None)
    assert [row.arm for row in rows] == [r"\xff"]
    said([*rows, row("other", 0, 0.5, "", "ecssd")], tmp_path, tmp_path / "pictures")
    assert len(read_rows(tmp_path / "pictures" / "cells.csv")) == 2


def test_split_baseline_and_scores_can_be_chosen(tmp_path):
    both = [*ROWS, *(replace(r, split="val") for r in ROWS)]
    text = said(both, tmp_path, split="val", baseline="b", scores=["mae"])
    assert "Split val" in text and "baseline b" in text and "mae" in text and "miou" not in text
    with pytest.raises(InputError, match="There are: test"):
        said(ROWS, tmp_path, split="val")


def test_several_classes_are_compared_by_what_is_defined(tmp_path):
    several = [replace(r, scores=r.scores | {"f_mean": math.nan}) for r in ROWS]
    text = said(several, tmp_path)
    assert "miou_dataset" in text and "f_mean" not in text


def test_cells_without_any_score_are_refused_and_any_defined_one_is_taken(tmp_path):
    nothing = [replace(one, scores=dict.fromkeys(SCORES, math.nan)) for one in ROWS]
    with pytest.raises(InputError, match="expected cells with a score on test to compare, found none"):
        said(nothing, tmp_path)
    assert "hd95" in said([replace(one, scores={**one.scores, "hd95": 3.0}) for one in nothing], tmp_path)


def test_one_seed_is_never_a_result(tmp_path):
    assert "readings, no result" in said([r for r in ROWS if r.seed == 0], tmp_path)
    assert "readings" not in said(ROWS, tmp_path)


def test_runs_of_one_configuration_are_one_arm(tmp_path):
    runs = [tmp_path / name for name in ("mine-0", "mine-1", "other")]
    names = arm_names(dict(zip(runs, [{"a": 1}, {"a": 1}, {"a": 2}])))
    assert list(names.values()) == ["mine", "mine", "other"]
    assert what_differs({"mine": {"a": 1, "b": 3}, "other": {"a": 2, "b": 3}}) == ["a: mine 1, other 2"]
    many = {arm: dict.fromkeys("abcdefghi", number) for number, arm in enumerate(("mine", "other"))}
    assert what_differs(many)[8:] == ["... and 1 more setting differs"]
    assert what_differs(many, most=7)[7:] == ["... and 2 more settings differ"]


@pytest.mark.parametrize(
    ("folders", "name"),
    [
        (("mine-10", "mine-11"), "mine"),
        (("mine1", "mine10"), "mine"),
        (("resnet18-a", "resnet18-b"), "resnet18"),
        (("seed-2/wide18", "seed-3/wide18"), "wide18"),
    ],
)
def test_an_arm_is_not_called_by_the_digits_that_its_seeds_share(folders, name):
    assert set(arm_names({Path(folder): {} for folder in folders}).values()) == {name}


def test_a_run_is_no_arm_of_a_file_that_has_its_name():
    runs = [Path("runs/mine"), Path("runs/other")]
    names = arm_names({run: {"a": number} for number, run in enumerate(runs)}, taken={"mine"})
    assert list(names.values()) == ["runs/mine", "other"]


def test_runs_are_compared(run_cli, tmp_path):
    runs = []
    for name, seed, width in (("slim-0", 0, 8), ("slim-1", 1, 8), ("wide-0", 0, 16), ("wide-1", 1, 16)):
        settings = SMALL | {"seed": seed, "model.width": width}
        words = [f"--{key}={'null' if v is None else v}" for key, v in settings.items()]
        status, out, err = run_cli("train", "--config", "quickstart.yaml", *words, "--out", tmp_path / name)
        assert status == 0, out + err
        runs.append(tmp_path / name)
    status, out, err = run_cli("compare", *runs, "--scores", "[miou_image]", "--out", tmp_path / "out")
    assert status == 0, err
    assert "model.init_args.width: slim 8, wide 16" in out and "2 seeds (0, 1); baseline slim" in out
    rows = read_rows(tmp_path / "out" / "cells.csv")
    assert [(r.arm, r.seed, r.dataset, r.split, r.steps, r.images) for r in rows] == [
        (arm, seed, "embedded", "val", 4, 16) for arm in ("slim", "wide") for seed in (0, 1)
    ]
    card = json.loads((tmp_path / "wide-1" / "model.json").read_text())
    assert rows[3].scores["miou_image"] == card["scores"]["miou_image"] and rows[3].seconds > 0

    assert "different val images" not in out and "another run's" not in out
    for run, name in zip(runs, ("one", "one", "another", "one")):  # generated images have no digests
        (run / "data.json").write_text(json.dumps({"train": {}, "val": {name: "1 2"}}))
    _, out, _ = run_cli("compare", *runs)
    assert out.count(f"{runs[0]} and {runs[2]} have different val images of embedded, and are paired") == 1
    status, _, err = run_cli("compare", runs[0], "--split", "test", "--out", tmp_path / "test")
    assert status == 0, err
    run_cli("evaluate", "--run", runs[0], "--split", "test", "--out", tmp_path / "test.json", "--device", "cpu")
    alone = json.loads((tmp_path / "test.json").read_text())
    assert read_rows(tmp_path / "test" / "cells.csv")[0].scores["f_max"] == alone["f_max"]

    for file in ("student.safetensors", "model.json"):
        (runs[0] / file).write_bytes((runs[2] / file).read_bytes())
    for split in ("val", "test"):
        _, out, _ = run_cli("compare", *runs[:2], "--split", split)
        assert out.count("student.safetensors; another run's may lie in its place") == 1
        assert f"warning: {runs[0]}: the record of the training has no validation of step" in out


def test_an_unfinished_run_is_named(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\ndata: {root: null, batch_size: 2}\nengine: {accumulate: 1}\n")
    with pytest.raises(InputError, match=r"run: expected a run that was validated at least once"):
        gather([str(run)], "val")
