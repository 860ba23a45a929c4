import pytest
import torch.distributed as dist

from segkd.experiment.processes import join_processes, lost_process
from segkd.types import InputError

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:41"


def test_a_lost_process_is_told_from_other_errors_and_only_where_there_are_several(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for error in (RuntimeError(GLOO), dist.DistBackendError("NCCL error")):
        sentence = lost_process(error)
        assert sentence.startswith("process 1 waited for another one") and str(error) in sentence
    assert lost_process(RuntimeError("shape mismatch")) == ""
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert lost_process(RuntimeError(GLOO)) == ""


def test_weights_in_parts_are_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="told to use FSDP, but each process needs the whole network"):
        join_processes(cpu=True)
