import pytest
import torch

from segkd.distill.base import Scene
from segkd.distill.knowledge.feature import Hint
from segkd.distill.teachers.donor import Donor
from segkd.models.fusion import FusionNet
from segkd.models.member import seen_at
from segkd.models.reused import ReusedHead
from segkd.models.store import ModelCard, load_model, save_student
from segkd.models.taps import tapped
from segkd.types import IGNORE, InputError, LayerPath
from tests.conftest import TINY
from tests.distill.teachers.stage import Tiny

ARGUMENTS = {"encoder": TINY, "weights": None, "width": 16}


@pytest.fixture
def source(tmp_path) -> LayerPath:
    card = ModelCard("segkd.models.network.FusionNet", {"classes": 3, **ARGUMENTS}, ["a", "b", "c"], (32, 32))
    save_student(tmp_path, FusionNet(3, **ARGUMENTS), card)
    return LayerPath(str(tmp_path))


def met(student, batch, names=("a", "b", "c")) -> Donor:
    donor = Donor()
    with torch.no_grad():
        donor.meet(Scene(student, batch, student.eval()(batch.clean), 2, type(student), names))
    return donor


def test_it_says_what_its_head_reads_of_the_clean_image_at_its_own_size(source, make_batch):
    batch, student = make_batch(3, size=(48, 64)), ReusedHead(3, source, "FusionNet", ARGUMENTS)
    donor = met(student, batch)
    target = donor(batch, student(batch.image), student).target
    small = seen_at(batch.clean, (32, 32))
    network = load_model(source).network
    seen: list[torch.Tensor] = []
    network.sharpen.register_forward_hook(lambda _m, _i, output: seen.append(output))
    logits = network(small).logits
    torch.testing.assert_close(target.features[0], seen[0])
    assert target.logits.shape == batch.image.shape and not target.features[0].requires_grad
    torch.testing.assert_close(donor.alone()(batch.clean).logits, target.logits)
    assert torch.nn.functional.interpolate(logits, (48, 64), mode="bilinear").allclose(target.logits, atol=1e-5)
    assert not donor.state_dict() and not list(donor.parameters())  # in no checkpoint, in no optimiser
    assert donor.said[0].startswith(f"{source}: FusionNet") and len(donor.said) == 1


def test_with_a_hint_it_is_the_squared_error_of_projected_features(source, make_batch):
    batch, student = make_batch(3), ReusedHead(3, source, "FusionNet", ARGUMENTS)
    donor, hint = met(student, batch), Hint(adapt=False, normalise=False)
    ours = tapped(student.train(), batch.image, ["head:in"])
    target = donor(batch, ours, student).target
    hint.meet(ours, target)
    gap = (ours.features[0] - target.features[0]).square().mean(dim=1)
    expected = gap[batch.label[:, 1::2, 1::2] != IGNORE].mean()
    found = hint(ours, target, batch)
    torch.testing.assert_close(found, expected)
    found.backward()
    learning = [p for p in student.parameters() if p.requires_grad]
    assert len(learning) > 50 and all(p.grad is not None for p in learning)


def test_a_student_with_a_head_of_its_own_or_other_classes_is_refused(source, make_batch):
    batch = make_batch(3)
    with pytest.raises(InputError, match=r"the student has a head of its own\. Write model: ReusedHead"):
        met(Tiny(), batch)
    with pytest.raises(InputError, match=r"another order \(a, b, c\) than the student \(a, c, b\)"):
        met(ReusedHead(3, source, "FusionNet", ARGUMENTS), batch, ("a", "c", "b"))


def test_a_head_that_reads_numbers_below_0_is_told_of(source, make_batch):
    batch, student = make_batch(3), ReusedHead(3, source, "FusionNet", ARGUMENTS)
    donor = Donor()
    predicted = donor.predicted
    donor.predicted = lambda image: (seen := predicted(image), seen.features[0].neg_())[0]
    with torch.no_grad():
        donor.meet(Scene(student, batch, student.eval()(batch.clean), 2, Tiny, ("a", "b", "c")))
    assert "below 0" in donor.said[1]
