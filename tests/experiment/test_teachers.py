import pytest
from rich.console import Console

from segkd.datasets.data import Data
from segkd.datasets.embedded import Embedded
from segkd.datasets.opening import open_data
from segkd.distill.base import Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.checkpoint import Progress
from segkd.engine.record import Recorder, read_lines
from segkd.experiment.same_data import keep_digests
from segkd.experiment.settings import Evaluation
from segkd.experiment.teachers import compare_with_teachers, doubt_teachers, score_teachers
from segkd.experiment.validation import Validation
from segkd.models.store import ModelCard
from segkd.types import Lesson
from tests.distill.teachers.stage import Pointwise
from tests.engine.test_step import make_engine


class Knows(Teacher):
    """Needs neither student nor label."""

    gives = frozenset({"logits"})

    def forward(self, batch, student, look):
        return Lesson(Pointwise(2)(batch.clean))

    def alone(self):
        return Pointwise(2)


@pytest.fixture
def validation(tmp_path):
    """A validation on three images, whose distiller has a teacher that can be scored and one that cannot."""
    data = Data(embedded=Embedded(train=2, val=3, side=32), size=32, batch_size=2)
    val = open_data(data, ["val"], lambda n: None)[0]["val"]
    engine, terms = make_engine(), {name: Term(Response(), name) for name in ("before", "label")}
    engine.bare.distiller = Distiller(teachers={"before": Knows(), "label": LabelTeacher()}, terms=terms)
    recorder = Recorder(tmp_path, -1, True)
    card = ModelCard("x.Y", {}, ["a", "b"], (32, 32))
    return Validation(engine, data, val, recorder, tmp_path, card, Evaluation(band_errors=False), 1)


def test_a_teacher_is_scored_once_and_its_score_kept(validation, tmp_path):
    with (tmp_path / "said").open("w") as file, validation.recorder:
        progress, console = Progress(), Console(file=file, width=200)
        score_teachers(validation, progress, "miou_image", console)
        validation.engine.micro = 5  # a run that goes on
        score_teachers(validation, progress, "miou_image", console)
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert (line["kind"], line["step"], line["teacher"]) == ("teacher", 0, "before")
    assert progress.promises == {"teacher before": line["miou_image"]}
    assert (tmp_path / "said").read_text().startswith(f"teacher before on val: miou_image {line['miou_image']:.4f}, 3")


def test_a_teacher_below_its_student_is_warned_of(tmp_path):
    def said(best, others=False):
        with (tmp_path / "said").open("w") as file:
            progress = Progress(best=best, promises={"teacher before": 0.5, "lines": 3, "student_sha256": "x"})
            compare_with_teachers(progress, "miou_image", Console(file=file, width=400), others=others)
        return (tmp_path / "said").read_text()

    assert "teacher before is worse on val than its student: miou_image 0.5000 against 0.6000" in said(0.6)
    assert said(0.4) == said(None) == said(0.4, others=True) == ""
    told = said(0.6, others=True)
    assert "warning" in said(0.6) and "warning" not in told
    assert "worse on val than its student (miou_image 0.5000 against 0.6000), which saw images without a label" in told


def test_a_teacher_that_was_trained_on_images_of_val_is_told_whatever_their_names(tmp_path, capsys):
    runs = {"fair": {"train": {"c": "3 3"}, "val": {"a": "1 1"}}, "leaky": {"train": {"other": "1 9", "c": "3 3"}}}
    for name, digests in runs.items():
        (tmp_path / name).mkdir()
        keep_digests(tmp_path / name, digests)
    sources = [str(tmp_path / name) for name in ("fair", "leaky", "pulled")] + [str(tmp_path / "leaky" / "x.onnx")]
    doubt_teachers(sources, {"train": {"c": "3 3"}, "val": {"a": "1 1", "b": "2 2"}}, Console(width=500))
    said = capsys.readouterr().out
    assert said.count("was trained on 1 of the 2 images of val (a): scores on val") == 2 and "fair" not in said
    doubt_teachers(sources, {"val": {}}, Console())
    assert not capsys.readouterr().out
