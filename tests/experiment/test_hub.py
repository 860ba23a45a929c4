"""What is pushed comes back as it was, says nothing of the machine, and is not trusted."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import segkd
from segkd.experiment import hub
from segkd.experiment.hub import model_card, needs_trust, without_paths
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, read_card, save_student
from segkd.types import InputError
from tests.conftest import TINY

ARGUMENTS = {"classes": 2, "encoder": TINY, "weights": "/home/me/secret/weights.pth", "width": 16}
CARD = ModelCard("segkd.models.network.FusionNet", ARGUMENTS, ["ground", "leaf|spot"], (32, 32), 0.4,
                 {"miou_image": 0.7123, "hd95": None}, 12)  # fmt: skip
CONFIG = {"seed": 1, "data": {"root": "/home/me/secret/leaves", "batch_size": 4, "train": "train.txt"},
          "engine": {"epochs": 3}, "distiller": {"teachers": {}, "terms": {}}}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    save_student(folder, FusionNet(2, TINY, None, 16), CARD)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "checkpoints").mkdir()
    return folder


@pytest.fixture
def pushed(run, run_cli, tmp_path):
    status, out, err = run_cli("push", run, tmp_path / "shelf")
    assert status == 0 and "names no license" in out, out + err
    return tmp_path / "shelf"


def test_what_is_pushed_comes_back_and_predicts_the_same(run, pushed, run_cli, tmp_path):
    assert {path.name for path in pushed.iterdir()} == set(hub.FILES)
    status, out, err = run_cli("pull", pushed, "--out", tmp_path / "back")
    assert status == 0 and "segkd info" in out and "warning" not in out, out + err
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    ours, theirs = (segkd.load_model(folder).predict(image) for folder in (run, tmp_path / "back"))
    assert np.array_equal(ours, theirs)
    assert read_card(tmp_path / "back").scores == CARD.scores
    status, out, _ = run_cli("info", tmp_path / "back", "--runs", 1, "--depth", 0)
    assert status == 0 and "back/README.md" in "".join(out.split()), "the card tells of the data"
    status, _, err = run_cli("train", "--resume", tmp_path / "back")
    assert status == 2 and f"--init {tmp_path / 'back'}" in err, err
    for folder in (pushed, tmp_path / "back"):
        status, _, err = run_cli("pull", pushed, "--out", folder)
        assert status == 2 and "new or empty" in err


def test_the_home_folder_may_be_in_quotes(run, run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(run)
    status, out, err = run_cli("push", run, "~/shelf")
    assert status == 0 and (tmp_path / "shelf" / "README.md").is_file() and not (run / "~").exists(), out + err
    assert run_cli("pull", "~/shelf", "--out", tmp_path / "back")[0] == 0
    status, _, err = run_cli("push", run, "~nobody-of-that-name/shelf")
    assert status == 2 and "Traceback" not in err


def test_no_file_says_where_things_lie_on_this_machine(pushed):
    for path in pushed.iterdir():
        assert b"secret" not in path.read_bytes() and str(pushed.parent).encode() not in path.read_bytes(), path.name
    assert yaml.safe_load((pushed / "config.yaml").read_text())["data"] == CONFIG["data"] | {"root": "leaves"}
    assert without_paths({"a": ["/x/y.txt", "b/c", 3]}) == {"a": ["y.txt", "b/c", 3]}
    for path in ("file:///home/joe/acme", "../../joe/acme", "C:\\Users\\joe\\acme", "~/joe/acme", "a/../../joe/acme"):
        assert without_paths(path) == "acme"
    assert without_paths(["s3://bucket/a", "a..b", "{}_x.png"]) == ["s3://bucket/a", "a..b", "{}_x.png"]


def test_no_link_is_pushed_and_no_name_of_a_class_is_markup(run, run_cli, tmp_path):
    card = replace(CARD, classes=["ground", "x\n\n<img src=a>\n\n# Owned"])
    text = model_card(card, {"classes": "# a [b](c) <d>"}, "me/x", None)
    assert "\n# Owned" not in text and "<img" not in text.replace("\\<", "") and "\\[b\\](c)" in text
    (tmp_path / "kube.yaml").write_text("token: SECRET")
    (run / "config.yaml").unlink()
    (run / "config.yaml").symlink_to(tmp_path / "kube.yaml")
    status, _, err = run_cli("push", run, tmp_path / "shelf")
    assert status == 2 and "found a link" in err and not (tmp_path / "shelf" / "config.yaml").exists()


def test_the_card_holds_scores_data_recipe_and_leaves_the_license_to_the_user(pushed):
    text = (pushed / "README.md").read_text()
    front, body = text.split("---\n")[1:]
    assert yaml.safe_load(front) == {
        "library_name": "segkd", "pipeline_tag": "image-segmentation", "tags": ["segkd", "self-distillation"],
    }  # fmt: skip
    for said in ("# license: yours",):
        assert said in front
    for said in ("| miou_image | 0.7123 |", "leaf\\|spot", "leaves", "none: the task loss alone", "segkd predict --run",
                 "at 32x32, step 12 of 3 epochs"):  # fmt: skip
        assert said in body, said
    assert "hd95" not in body
    assert "\nlicense: mit\n" in model_card(CARD, {}, "me/leaves", "mit")


def test_a_damaged_or_linked_file_is_not_pulled(pushed, run_cli, tmp_path):
    weights = pushed / "student.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-3] + b"abc")
    status, _, err = run_cli("pull", pushed, "--out", tmp_path / "back")
    assert status == 2 and "damaged or changed" in err
    weights.write_bytes(good)
    (pushed / "README.md").unlink()
    (pushed / "README.md").symlink_to("/etc/hostname")
    status, _, err = run_cli("pull", pushed, "--out", tmp_path / "back")
    assert status == 2 and "a link" in err
    assert not (tmp_path / "back").exists(), "nothing is left behind"
    status, _, err = run_cli("pull", tmp_path, "--out", tmp_path / "back")
    assert status == 2 and "student.safetensors" in err


def test_a_foreign_class_is_said_and_not_built(run, tmp_path):
    (run / "config.yaml").write_text("model: {class_path: evil.Net}\n")
    said = needs_trust(run, CARD)
    assert len(said) == 1 and "evil.Net" in said[0] and "--trust" in said[0]


class Api:
    """The hub as a folder."""

    shelf: Path
    told: dict

    def create_repo(self, repo, private, exist_ok):
        Api.told = {"repo": repo, "private": private, "exist_ok": exist_ok}

    def upload_folder(self, repo_id, folder_path, commit_message, allow_patterns):
        for name in allow_patterns:
            shutil.copy(Path(folder_path) / name, self.shelf / name)
        Api.told |= {"id": repo_id, "message": commit_message}


def test_the_hub_is_asked_by_its_own_client(run, run_cli, tmp_path, monkeypatch):
    class Client:
        HfApi = Api

        @staticmethod
        def snapshot_download(repo, revision, local_dir, allow_patterns):
            if revision == "gone":
                raise ConnectionError("no such revision")
            for name in allow_patterns:
                shutil.copy(Api.shelf / name, Path(local_dir) / name)
            return local_dir

    Api.shelf = tmp_path / "hub"
    Api.shelf.mkdir()
    monkeypatch.setattr(hub, "_hub", lambda: Client)
    status, out, err = run_cli("push", run, "me/leaves", "--license", "mit", "--private", "--message", "first")
    assert status == 0 and "license" not in out, err
    assert Api.told == {"repo": "me/leaves", "private": True, "exist_ok": True, "id": "me/leaves", "message": "first"}
    assert "# me/leaves" in (Api.shelf / "README.md").read_text()
    status, out, err = run_cli("pull", "me/leaves", "--out", tmp_path / "back")
    assert status == 0 and read_card(tmp_path / "back").step == 12, err
    status, _, err = run_cli("pull", "me/leaves", "--out", tmp_path / "other", "--revision", "gone")
    assert status == 2 and "no such revision" in err and "hf auth login" in err


@pytest.mark.parametrize("repo", ["leaves", "a/b/c", "me/le aves", ""])
def test_what_is_neither_a_name_nor_a_folder_is_refused(repo):
    with pytest.raises(InputError, match="owner/name"):
        hub.is_folder(repo)
