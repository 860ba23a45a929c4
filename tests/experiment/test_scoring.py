import io

import numpy as np
import pytest
from rich.console import Console

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.engine.views import Looking, Looks
from segkd.experiment.scoring import Sight, open_split, threshold_of
from segkd.models.ensemble import Ensemble
from segkd.models.store import ModelCard
from segkd.types import InputError
from tests.engine.test_views import Pixelwise

CARD = ModelCard("", {}, ["ground", "object"], (32, 48), threshold=0.37)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("foreground", "background"), "background is another number there"),
        (("a", "b", "c"), "names 2 classes .* but the student was trained on 3"),
    ],
)
def test_classes_that_stand_elsewhere_in_the_student_are_refused(classes, said):
    data = Data(embedded=Embedded(train=2, val=1, test=1, side=32), size=(32, 32))
    with pytest.raises(InputError, match=said):
        open_split(data, "val", Console(file=io.StringIO()), classes)


def test_classes_of_other_names_may_be_the_same():
    data = Data(embedded=Embedded(train=2, val=1, test=1, side=32), size=(32, 32))
    assert len(open_split(data, "val", Console(file=io.StringIO()), ("sky", "bird")).ids) == 1


@pytest.mark.parametrize("looks", [Looks(flip=True), Looks(scales=(0.5, 1.0)), Looks(slide=True)])
def test_a_network_looks_as_it_is_told_and_the_members_of_an_ensemble_by_themselves(looks):
    network, together = Pixelwise(), Ensemble([])
    plain, told = (Sight(Data(batch_size=4), CARD, 0.5, looks=one) for one in (Looks(), looks))
    assert plain.through(network) is network and plain.batch == 4
    seen = told.through(network)
    assert isinstance(seen, Looking) and (seen.network, seen.looks, seen.window) == (network, looks, (32, 48))
    assert told.through(together) is together and told.batch == (1 if looks.slide else 4)


def test_a_threshold_is_a_probability_or_the_run_s_own():
    assert threshold_of("0.25") == threshold_of("0.25", CARD) == 0.25 and threshold_of("val", CARD) == 0.37
    for wrong in ("0", "1", "-0.5", "nan", "inf", "half", "val"):
        with pytest.raises(InputError, match="--threshold"):
            threshold_of(wrong)


@pytest.mark.parametrize(("name", "most"), [("sheet.jpg", 65500), ("sheet.webp", 16383)])
def test_a_sheet_that_its_format_cannot_hold_is_refused(run_cli, monkeypatch, tmp_path, name, most):
    for height, status in ((most, 0), (most + 1, 2)):
        monkeypatch.setattr(
            "segkd.experiment.scoring.contact_sheet", lambda *_, height=height: np.zeros((height, 6, 3), np.uint8)
        )
        few = ("--data.embedded", '{"train": 2, "val": 1, "test": 1, "side": 32}')
        found, _, err = run_cli("sheet", *few, "--out", tmp_path / name)
        assert found == status and (not status or "Lower --number" in err), err


def test_the_layer_of_a_training_is_refused_with_the_way_to_its_data(run_cli):
    status, _, err = run_cli("sheet", "--config", "quickstart.yaml")
    assert status == 2 and "unknown key engine: this command reads data alone, and --data FILE" in err, err
