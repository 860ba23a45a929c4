import pytest
import torch
from torch import nn

from segkd.engine.agreement import apart, checksum, checksums


def twins() -> tuple[nn.Module, nn.Module]:
    pair = [nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair[0], pair[1]


def found(*processes: nn.Module) -> list[str]:
    sums = [checksums(one) for one in processes]
    return apart(torch.stack([torch.stack(list(one.values())) for one in sums]), list(sums[0]))


def test_equal_processes_agree_and_their_batchnorm_statistics_may_differ():
    ours, theirs = twins()
    theirs[1].running_mean.add_(1.0)
    assert found(ours, theirs, ours) == []


def test_one_bit_of_one_parameter_is_noticed_by_name():
    ours, theirs = twins()
    with torch.no_grad():
        theirs[0].weight.view(torch.int32)[0, 0] ^= 1
    assert found(ours, ours, theirs) == ["0.weight"]


KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", KINDS)
def test_every_kind_of_number_has_a_checksum(dtype):
    x = (torch.arange(8) % 2).to(dtype)
    y = x.clone()
    y[0] = 1
    assert checksum(x) == checksum(x.clone()) != checksum(y)
