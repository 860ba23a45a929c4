import shutil

import pytest

from segkd.ablation.identity import (
    TRAINED_BY,
    code_digest,
    code_digests,
    data_digests,
    differences,
    plain_config,
    user_code,
)
from segkd.datasets.data import Data
from tests.conftest import REPOSITORY
from tests.test_architecture import imported_rooms

CODE = '''"""A module."""


def double(x):
    """Twice x."""
    # as it says
    return 2 * x
'''


def digest(tmp_path, text):
    path = tmp_path / "module.py"
    path.write_text(text)
    return code_digest(path)


def test_words_and_layout_do_not_count_code_does(tmp_path):
    first = digest(tmp_path, CODE)
    assert first == digest(tmp_path, CODE.replace("Twice x.", "x, twice.").replace("# as it says", "# so"))
    assert first == digest(tmp_path, CODE.replace('    """Twice x."""\n', "").replace("\n\n\n", "\n"))
    assert first != digest(tmp_path, CODE.replace("2 * x", "3 * x"))
    assert first != digest(tmp_path, CODE + "\nEXTRA = 1\n")


def test_the_code_of_a_training_counts_and_that_of_tables_does_not():
    files = code_digests()
    assert "segkd/models/decoder.py" in files and "segkd/engine/step.py" in files and "segkd/types.py" in files
    assert not any(name.startswith(("segkd/ablation", "segkd/cli")) for name in files)
    read = set().union(*(imported_rooms(REPOSITORY / name) for name in files))
    assert read <= set(TRAINED_BY)  # what it imports is passed through, too


def test_a_users_own_module_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_network.py").write_text("class Own: pass\n")
    config = {"model.class_path": "own_network.Own", "distiller.task.class_path": "segkd.losses.Sum"}
    first = user_code(config)
    assert list(first) == ["own_network"]
    (tmp_path / "own_network.py").write_text("class Own: width = 3\n")
    assert user_code(config) != first


def test_where_and_how_fast_a_run_goes_does_not_count():
    a = plain_config("seed: 1\ndata: {root: /a, workers: 2}\nengine: {threads: 1, epochs: 3}\n")
    b = plain_config("seed: 1\ndata: {root: /b, workers: 0}\nengine: {threads: 8, epochs: 3}\n")
    assert a == b == {"seed": 1, "engine.epochs": 3}


def test_a_moved_data_set_is_the_same_and_a_changed_one_is_not(make_folder, tmp_path):
    root = make_folder(8)
    first = data_digests(Data(root=str(root)))
    shutil.move(root, tmp_path / "elsewhere")
    root = tmp_path / "elsewhere"
    assert data_digests(Data(root=str(root))) == first
    with (root / "masks" / "photo3.png").open("ab") as file:
        file.write(b"more")
    changed = data_digests(Data(root=str(root)))
    assert changed != first
    (root / "train.txt").write_text("photo0\nphoto1\n")
    listed = data_digests(Data(root=str(root)))
    assert listed["train"]["pairs"] < changed["train"]["pairs"]
    assert any("train split" in s and "pairs then" in s for s in differences({"data": changed}, {"data": listed}))


@pytest.mark.parametrize(
    ("then", "now", "sentence"),
    [
        ({"config": {"optim.lr": 1}}, {"config": {"optim.lr": 2}}, "optim.lr: 1 then, 2 now"),
        ({"config": {}}, {"config": {"new": 2}}, "new: None then, 2 now"),
        ({"code": {"a.py": "x"}}, {"code": {"a.py": "y"}}, "the code of a.py changed"),
        ({"code": {}}, {"code": {"a.py": "y"}}, "the code of a.py is new"),
        ({"code": {"a.py": "y"}}, {"code": {}}, "the code of a.py is gone"),
    ],
)
def test_what_differs_is_said(then, now, sentence):
    assert differences(then, now) == [sentence]
    assert differences(now, now) == []
