import pytest
import torch

from segkd.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from segkd.engine.step import train_step
from segkd.types import InputError
from tests.engine.test_step import make_engine


def test_a_restored_engine_goes_on_as_if_nothing_had_happened(tmp_path, make_batch):
    path, batch = tmp_path / "checkpoints" / "last.pt", make_batch(soft=False)
    engine = make_engine()
    train_step(engine, batch)
    save_checkpoint(path, engine, Progress(best=0.5, since_best=2))
    train_step(engine, batch)
    other = make_engine(lr=0.7)
    progress, changed = load_checkpoint(path, other)
    assert (progress.best, progress.since_best, changed) == (0.5, 2, [])
    assert (other.step, other.micro, other.bare.distiller.progress) == (1, 1, 0.1)
    train_step(other, batch)
    assert torch.equal(other.bare.student.head.weight, engine.bare.student.head.weight)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, make_batch, monkeypatch):
    path, engine = tmp_path / "last.pt", make_engine()
    save_checkpoint(path, engine, Progress())
    before = path.read_bytes()
    train_step(engine, make_batch(soft=False))

    def torn(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, engine, Progress())
    assert path.read_bytes() == before


def test_it_says_which_circumstances_differ(tmp_path):
    path, engine = tmp_path / "last.pt", make_engine()
    save_checkpoint(path, engine, Progress())
    torch.set_num_threads(2)
    _, changed = load_checkpoint(path, make_engine())
    assert changed == ["threads: 1 then, 2 now"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04torn"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt"):
        load_checkpoint(path, make_engine())


def test_it_never_unpickles_code(tmp_path):
    path = tmp_path / "last.pt"
    torch.save({"learner": print}, path)
    with pytest.raises(InputError, match=r"last\.pt"):
        load_checkpoint(path, make_engine())
