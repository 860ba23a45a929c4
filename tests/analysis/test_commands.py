import pytest

from segkd.analysis.commands import analyse_spectra, checked_cards
from segkd.models.network import FusionNet
from segkd.models.store import ModelCard, save_student
from segkd.types import InputError

OLD = {"encoder": "test_efficientnet", "weights": None, "width": 8}


def run_of(folder, seed, path, arguments):
    folder.mkdir()
    (folder / "config.yaml").write_text(f"seed: {seed}\n")
    save_student(folder, FusionNet(2, "test_efficientnet", None, 8), ModelCard(path, arguments, ["a", "b"], (32, 32)))
    return folder


def test_a_stranger_s_class_is_not_imported_for_its_defaults(tmp_path, monkeypatch):
    (tmp_path / "a_stranger.py").write_text("raise SystemExit('this code was not trusted')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    runs = [("net", run_of(tmp_path / f"run{seed}", seed, "a_stranger.Net", OLD)) for seed in range(2)]
    assert checked_cards(runs).class_path == "a_stranger.Net"


@pytest.mark.parametrize(
    ("path", "late", "alike"),
    [
        ("segkd.models.network.FusionNet", {"depth": 1}, True),
        ("segkd.models.network.FusionNet", {"depth": 2}, False),
        ("segkd.models.network.FusionNet", {"width": 16}, False),
        ("segkd.models.network.GoneNet", {"depth": 1}, False),
    ],
)
def test_an_argument_that_came_later_stands_at_its_default_in_an_older_card(tmp_path, path, late, alike):
    runs = [("net", run_of(tmp_path / "old", 0, path, OLD)), ("net", run_of(tmp_path / "new", 1, path, OLD | late))]
    if alike:
        assert checked_cards(runs).init_args == OLD
        return
    with pytest.raises(InputError, match="both called net, but their networks differ"):
        checked_cards(runs)


def test_what_cannot_be_examined_is_refused_before_the_data_are_read(tmp_path, monkeypatch):
    run = run_of(tmp_path / "run", 0, "a_stranger.Net", OLD)
    monkeypatch.setattr("segkd.analysis.commands.open_split", lambda *_: pytest.fail("the data were read"))
    (tmp_path / "data.yaml").write_text(f"data:\n  root: {tmp_path}\n")
    settings = ["--data", str(tmp_path / "data.yaml"), "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match=r"names a_stranger\.Net.*--trust"):
        analyse_spectra([str(run), *settings])
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"trained as a run first \(docs/spectral\.md\)"):
        analyse_spectra([str(tmp_path / "net.onnx"), *settings])
