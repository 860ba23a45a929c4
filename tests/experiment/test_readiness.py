import errno

import pytest
import torch
from torch import nn

from segkd.datasets.data import Data
from segkd.experiment.readiness import in_words, refuse_unready
from segkd.models.network import Network
from segkd.types import InputError, Prediction


class Shrinking(Network):
    """Normalises over (size / 32)^2 values per channel and image."""

    def __init__(self, classes=2):
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, classes, 1)

    def forward(self, image):
        small = self.drop(self.norm(nn.functional.avg_pool2d(image, 32)))
        return Prediction(nn.functional.interpolate(self.head(small), size=image.shape[2:]))


def test_a_batch_of_one_that_has_no_variance_is_refused_before_the_first_step():
    with pytest.raises(InputError, match=r"data\.batch_size 1 and data\.size \[32, 32\].*Raise"):
        refuse_unready(Shrinking(), Data(root="d", size=32, batch_size=1))
    refuse_unready(Shrinking(), Data(root="d", size=32, batch_size=2))


class Softmax(Shrinking):
    """Ends in a softmax."""

    def forward(self, image):
        return Prediction(super().forward(image).logits.softmax(dim=1))


def test_a_softmax_at_the_end_of_a_network_is_told():
    data = Data(root="d", size=32, batch_size=2)
    assert "leave out the softmax" in refuse_unready(Softmax(), data)
    assert refuse_unready(Shrinking(), data) == ""


def test_asking_leaves_no_trace():
    network = Shrinking()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    draws = torch.get_rng_state()
    refuse_unready(network, Data(root="d", size=64, batch_size=1))
    assert torch.equal(torch.get_rng_state(), draws) and network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "data.batch_size"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"), "data.size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "Lower data.batch_size"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Lower data.batch_size"),
        (OSError(errno.ENOSPC, "No space left on device", "run/file"), "run/file: No space left on device"),
    ],
)
def test_what_the_machine_lacks_is_a_paragraph(error, said):
    with pytest.raises(InputError) as found, in_words(Data(root="d", size=64, batch_size=4)):
        raise error
    assert said in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("another"), InputError("a mistake")])
def test_what_is_no_trouble_of_the_machine_passes(error):
    with pytest.raises(type(error), match=str(error)), in_words(Data(root="d")):
        raise error
