"""Whole runs on several domains: scored by domain, resumed between two updates, refused before anything is read."""

import json
import shutil
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import Namespace

from segkd.datasets.data import Data, Domain, Records
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Transform
from segkd.engine import loop
from segkd.experiment.domains import groups_of, passes
from segkd.experiment.meeting import introduce
from segkd.models.store import read_card
from tests.conftest import TINY
from tests.distill.teachers.stage import Pointwise
from tests.distill.test_kept import smooth_records

DOMAINS = {
    "one": {"embedded": {"train": 8, "val": 1, "test": 1, "side": 48}},
    "two": {"embedded": {"train": 16, "val": 2, "test": 2, "side": 48, "seed": 3, "cue": "colour"}},
}
SETTINGS = {
    "data.domains": json.dumps(DOMAINS),
    "data.size": 32,
    "data.batch_size": 4,
    "data.workers": 0,
    "model.encoder": TINY,
    "model.weights": "null",
    "model.width": 16,
    "engine.epochs": 2,
    "engine.log_every": 1,
    "engine.threads": 1,
    "evaluation.band_errors": "false",
    "draw": "DomainSampler",
    "draw.kind": "student_loss",
    "draw.every": 3,
    "draw.probe": 2,
}


def train(run_cli, run, **changed):
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changed.items()}
    arguments = [part for key, value in settings.items() if value is not None for part in (f"--{key}", value)]
    return run_cli("train", *arguments, "--out", run)


def lines(run, kind):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, request):
    """A run that was never stopped, and what its folder held at the end of some steps."""
    from segkd.cli import main

    folder, save = tmp_path_factory.mktemp("runs"), loop._save

    def saving(engine, progress, outputs):
        save(engine, progress, outputs)
        if engine.step in (6, 7):
            shutil.copytree(outputs.folder, folder / f"step{engine.step}", dirs_exist_ok=True)
            (folder / f"step{engine.step}" / "lock").unlink(missing_ok=True)

    settings = SETTINGS | {"engine.save_every": 1}
    arguments = [str(part) for key, value in settings.items() for part in (f"--{key}", value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", saving)
        torch.set_num_threads(1)
        assert main(["train", *arguments, "--out", str(folder / "unbroken")]) == 0
    return folder


def test_scores_are_means_over_domains_and_lines_tell_each(runs):
    run = runs / "unbroken"
    for line in lines(run, "val"):
        assert line["miou_image"] == pytest.approx(sum(one["miou_image"] for one in line["domains"].values()) / 2)
        assert line["domains"].keys() == DOMAINS.keys()
    told = lines(run, "domains")
    assert [line["step"] for line in told] == [0, 3, 6, 9]
    for line in told:
        each = line["domains"].values()
        assert sum(one["weight"] for one in each) == pytest.approx(1) and min(one["weight"] for one in each) >= 0.25
    assert read_card(run).scores["miou_image"] == max(line["miou_image"] for line in lines(run, "val"))
    trained = (run / "trained_on.txt").read_text().splitlines()
    assert len(trained) == 24 - 4 and all(name.startswith(("one/", "two/")) for name in trained)
    seen = json.loads((run / "environment.json").read_text())[-1]["seen"]
    assert seen["one"] * 6 + seen["two"] * 14 == pytest.approx(12 * 4, abs=0.02)


@pytest.mark.parametrize("step", [6, 7], ids=["before an update", "between two updates"])
def test_a_run_that_stops_goes_on_with_the_same_draws_bit_for_bit(runs, run_cli, step):
    status, out, err = run_cli("train", "--resume", runs / f"step{step}")
    assert status == 0, out + err
    one, two = (
        torch.load(run / "checkpoints" / "last.pt", weights_only=True)
        for run in (runs / "unbroken", runs / f"step{step}")
    )
    assert one["draw"] == two["draw"] and one["draw"]["round"] == 3
    assert all(torch.equal(tensor, two["learner"][name]) for name, tensor in one["learner"].items())
    for kind in ("domains", "val"):
        assert lines(runs / f"step{step}", kind) == lines(runs / "unbroken", kind)
    assert "twice" not in out + err and "missing" not in out + err


@pytest.mark.parametrize("probe", [2, 3])
def test_ddk_listens_to_a_finished_run_and_says_when_that_knows_the_probe(runs, run_cli, tmp_path, probe):
    teacher = json.dumps([str(runs / "unbroken")])  # whose probe were two images of each domain
    changed = {"config": "methods/ddk.yaml", "distiller.teachers.before.sources": teacher, "draw": None}
    status, out, err = train(
        run_cli, tmp_path / "run", **changed, draw__kind="ddk", draw__probe=probe, engine__epochs=1
    )
    assert status == 0, out + err
    first, *_ = told = lines(tmp_path / "run", "domains")
    assert [line["step"] for line in told] == [0, 3] and all(one["teacher"] > 0 for one in first["domains"].values())
    warned = "teacher before was trained on 2 of the 6 images of the probe"
    assert (" ".join(warned.split()) in " ".join((out + err).split())) == (probe == 3)


def test_a_layer_s_domains_lie_beside_it(run_cli, tmp_path, make_folder, monkeypatch):
    make_folder(n=4, name="sets/one")
    layer = make_folder(n=4, name="sets/two").parent / "layer.yaml"
    layer.write_text("data: {domains: {one: {root: one}, two: {root: two}}}")
    monkeypatch.chdir(tmp_path)
    status, out, err = run_cli("sheet", "--data", layer, "--out", tmp_path / "sheet.png")
    assert status == 0 and "2 domains, 6 train images" in out, out + err


def test_the_worst_domain_may_decide(run_cli, tmp_path):
    status, out, err = train(run_cli, tmp_path / "run", evaluation__select="worst_miou_image", draw__kind="uniform",
                             draw__every=None, engine__epochs=1)  # fmt: skip
    assert status == 0, out + err
    (line,) = lines(tmp_path / "run", "val")
    assert line["worst_miou_image"] == min(one["miou_image"] for one in line["domains"].values())
    assert f"best val worst_miou_image {line['worst_miou_image']:.4f}" in out
    assert lines(tmp_path / "run", "domains") == []


def test_evaluate_scores_every_domain_in_one_table(runs, run_cli, tmp_path):
    status, out, err = run_cli("evaluate", "--run", runs / "unbroken", "--split", "test", "--out", tmp_path / "scores")
    assert status == 0, out + err
    assert out.count("one ") and "worst" in out
    content = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert content["n_images"] == 3 and content["dataset"] == "one+two"
    each = [content["domains"][name]["miou_image"] for name in DOMAINS]
    assert content["miou_image"] == pytest.approx(sum(each) / 2)
    rows = (tmp_path / "scores" / "scores.md").read_text().splitlines()[2:5]
    assert [row.split("|")[1].strip() for row in rows] == ["one", "two", "mean of one+two"]
    assert [row.split("|")[2].strip() for row in rows] == ["1", "2", "3"]
    page = (tmp_path / "scores" / "report.html").read_text()
    assert "<h2>Domains</h2>" in page and f"{min(each):.4f}" in page


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"draw__kind": "ddk"}, "ddk compares the student's loss with a teacher's"),
        ({"data__domains": "null", "data__embedded": "{}"}, "weighs domains against each other, found none"),
        ({"draw__kind": "fixed", "draw__every": None, "draw__weights": '{"one": 1, "three": 2}'},
         "each of one, two; unknown: three; missing: two"),
        ({"draw__probe": 7}, "domain one has 8 training images, 7 of which are its probe: expected at least 2 more"),
        ({"data__domains": '{"one": {}}', "data__embedded": "{}", "draw": None, "draw__kind": None, "draw__every": None,
          "draw__probe": None}, "two data sets or more, found only one"),
        ({"data__domains": '{"one": {"classes": ["a", "b"]}, "two": {}}'}, "All domains share data.classes"),
        ({"evaluation__select": "worst_mae"}, "evaluation.select: expected one of"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_first_step(run_cli, tmp_path, changed, said):
    status, out, err = train(run_cli, tmp_path / "run", **changed)
    assert status == 2 and said in err and "Traceback" not in err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_domain_that_is_not_in_val_is_refused(run_cli, tmp_path, make_folder):
    root = make_folder(n=8)
    (root / "val.txt").write_text("photo0\nphoto1\n")
    changed = {"data__root": root, "data__domains": None, "data__domain_group": r"photo([01]|.)", "draw__probe": 1}
    status, _, err = train(run_cli, tmp_path / "run", **changed)
    assert status == 2 and "has no image in" in err and "data.domain_group" in err


@pytest.mark.parametrize("micro", [0, 5, 12, 27])
def test_passes_count_what_the_stream_of_batches_gave_to_each_domain(micro):
    domains = ("one",) * 5 + ("two",) * 9 + ("three",) * 3
    streams = [EpochBatches(17, 2, 3, rank=rank, world=2, accumulate=2) for rank in range(2)]
    drawn = [domains[index] for stream in streams for batch in islice(stream, micro) for _, index, _ in batch]
    expected = {name: drawn.count(name) / domains.count(name) for name in ("one", "two", "three")}
    assert passes(streams[0], domains, micro) == pytest.approx(expected)


def records_of(*ids, domains=()):
    return Records("train", ids, lambda _: None, domains=domains)


def test_groups_are_found_in_the_names_of_each_domain_by_its_own_expression():
    """An expression for the beginning of a name finds it behind the domain's."""
    ids = ("polyps/p1_1", "polyps/p1_2", "videos/p7_1", "videos/p8_2", "photos/p1_1")
    records = records_of(*ids, domains=("polyps", "polyps", "videos", "videos", "photos"))
    domains = {"polyps": Domain(group=r"^(p\d)"), "videos": Domain(group=r"_(\d)$"), "photos": Domain()}
    own = ["polyps/p1", "polyps/p1", "videos/1", "videos/2"]
    assert groups_of(Data(domains=domains), records) == [*own, None]
    assert groups_of(Data(domains=domains, group="^(p)"), records) == [*own, "photos/p"]
    plain = records_of("p1_1", "p1_2", "x")
    assert groups_of(Data(), plain) == [None] * 3
    assert groups_of(Data(group=r"^(p\d)"), plain) == ["p1", "p1", "x"]


def test_teachers_are_told_the_groups_of_the_domains():
    told = []
    data = Data(domains={"a": Domain(group=r"^(p)"), "b": Domain()}, classes=["x", "y", "z"], size=32, batch_size=2)
    records = replace(smooth_records(2), ids=("a/p1", "b/p1"), domains=("a", "b"))
    dataset = SegmentationDataset(records, Transform((32, 32), None, 3, soft=False), 0)
    distiller = SimpleNamespace(meets=True, meet=told.append, asked={})
    own = {"engine": Namespace(epochs=1), "optim": Namespace(cycles=1)}
    objects = Namespace(distiller=distiller, model=Pointwise(), data=data, draw=None, **own)
    introduce(objects, dataset, 1, Pointwise)
    assert told[0].groups() == ["a/p", None]
