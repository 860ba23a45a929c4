import random

import pytest
import torch

from segkd.engine.checkpoint import Progress, load_checkpoint, read_checkpoint, save_checkpoint
from segkd.engine.optim import Optim, build_schedule
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
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0") from error

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(path, engine, Progress())
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make_engine(), Progress(best=0.5, promises={"lines": 3}))
    good, whole = path.read_bytes(), read_checkpoint(path)
    draw, refused = random.Random(0), 0
    for _ in range(150):
        content = bytearray(good)
        content[draw.randrange(len(good))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
        except InputError as error:
            assert "last.pt" in str(error)
            refused += 1
        else:
            assert str(found) == str(whole)
    assert refused > 50


def test_where_the_loop_stands_comes_back(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make_engine(), Progress(0.5, 2, owed=True, promises={"lines": 3, "config": "seed: 0"}))
    progress, _ = load_checkpoint(path, make_engine())
    assert progress == Progress(0.5, 2, owed=True) and progress.promises == {"lines": 3, "config": "seed: 0"}


def test_a_longer_training_follows_its_own_schedule_at_once(tmp_path, make_batch):
    path, engine = tmp_path / "last.pt", make_engine()
    optim = Optim(lr=0.1, schedule="linear", warmup=0.0, average=None)
    engine.schedule = build_schedule(optim, engine.optimizer, 2)
    for _ in range(2):
        train_step(engine, make_batch(soft=False))
    engine.bare.total = 2
    assert engine.optimizer.param_groups[0]["lr"] == 0
    save_checkpoint(path, engine, Progress())
    longer = make_engine()
    longer.schedule, longer.bare.total = build_schedule(optim, longer.optimizer, 8), 8
    load_checkpoint(path, longer)
    assert longer.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 6 / 8)
    assert longer.bare.distiller.progress == 2 / 8


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
