"""Stores and settings that `Retrieval` refuses."""

from dataclasses import replace

import pytest
import torch

from segkd.distill.teachers import retrieval
from segkd.distill.teachers.retrieval import Retrieval, Stage
from segkd.models.fusion import FusionNet
from segkd.models.member import Member
from segkd.models.store import ModelCard, save_student
from segkd.types import IGNORE, InputError, LayerPath
from tests.conftest import TINY
from tests.distill.teachers.stage import Pointwise
from tests.distill.teachers.test_retrieval import (
    NAMES,
    RUN,
    images,
    introduced,
    network,  # noqa: F401
)

# ruff: noqa: F811


def test_what_cannot_be_a_store_is_refused_with_what_to_write(network):
    batch = images(3)
    lacking = replace(batch, label=batch.label.clamp_max(1))
    for label, settings, groups, said in (
        (
            torch.full_like(batch.label, IGNORE),
            {},
            (),
            r"found none of x, y, z in 3 training images .* Raise data.size",
        ),
        (lacking.label, {}, (), r"found none of z in 3 training images .* Raise data.size"),
        (batch.label, {"k": 60, "keys": 60}, (), "the store holds 44 keys, fewer .* Write a smaller k, or more keys"),
        (batch.label, {"k": 3, "keys": 60, "then": Stage(k=60)}, (), "the store holds 44 keys, fewer"),
        (batch.label, {"group": "film"}, (), "group: 'film' occurs in none of 3 names"),
        (batch.label, {}, ("ge",) * 3, "group finds 1 sequences in 1 domains: .* or frames: 30"),
        (batch.label, {"domain": "film"}, (), "domain: 'film' occurs in none of 3 names"),
        (batch.label, {"layer": "neck"}, (), "no layer 'neck'"),
    ):
        with pytest.raises(InputError, match=said):
            introduced(Retrieval(RUN, **settings), replace(batch, label=label), groups=groups)


def test_settings_that_cannot_be_are_refused_at_once():
    for settings, said in (
        ({"source": None}, "--distiller.teachers.NAME.source RUN"),
        ({"source": LayerPath("net.onnx")}, "expected a finished run"),
        ({"keys": 0}, "keys: expected at least 1"),
        ({"keys": 10, "k": 11}, r"k: expected 1 to 10 neighbours \(keys\), found 11"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0"),
        ({"temperature": float("inf")}, "temperature must be a finite number above 0"),
        ({"share": 1.5}, "share lies in 0..1"),
        ({"threshold": -0.1}, "threshold lies in 0..1"),
        ({"queries": 0}, "queries: expected at least 1"),
        ({"frames": -1}, "frames: expected 0 or more"),
        ({"then": Stage(at=1.5)}, r"then.at is a progress .* found 1\.5"),
        ({"then": Stage(k=0)}, "k: expected 1 to"),
    ):
        with pytest.raises(InputError, match=said):
            Retrieval(**({"source": RUN} | settings))


@pytest.fixture
def run(tmp_path):
    def make(classes: tuple[str, ...] = NAMES) -> LayerPath:
        arguments = {"classes": len(classes), "encoder": TINY, "weights": None, "width": 8}
        card = ModelCard("segkd.models.network.FusionNet", arguments, list(classes), (32, 32))
        save_student(tmp_path, FusionNet(**arguments), card)
        return LayerPath(str(tmp_path))

    return make


def test_a_source_that_is_no_run_is_truncated_or_knows_other_classes_is_refused(run, make_batch, tmp_path):
    batch = make_batch(3)
    with pytest.raises(InputError, match="expected a run folder"):
        introduced(Retrieval(LayerPath(str(tmp_path / "none"))), batch)
    with pytest.raises(InputError, match=r"Retrieval: .* knows 2 classes"):
        introduced(Retrieval(run(("x", "y"))), batch)
    with pytest.raises(InputError, match="another order"):
        introduced(Retrieval(run(("y", "x", "z"))), batch)
    teacher = introduced(Retrieval(run(), layer="mix"), batch)
    assert teacher.kept[0][1].keys.shape[1] == 8 and "FusionNet" in teacher.said[0]
    weights = tmp_path / "student.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"student\.safetensors"):
        introduced(Retrieval(LayerPath(str(tmp_path))), batch)


def test_a_network_without_features_needs_a_layer(monkeypatch):
    bare = Member("run", Pointwise().eval(), NAMES)
    monkeypatch.setattr(retrieval, "opened", lambda *_: bare)
    with pytest.raises(InputError, match=r"run gives no features of its own .* layer: PATH; segkd info run"):
        introduced(Retrieval(RUN), images(2))
    assert introduced(Retrieval(RUN, layer="mix", k=3), images(2)).kept
