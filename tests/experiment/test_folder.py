import pytest

from segkd.ablation.identity import config_today
from segkd.ablation.runs import method_of
from segkd.experiment.commands import train
from segkd.experiment.folder import as_it_began, checkpoint_of, claim_folder, resolved_text
from segkd.experiment.lock import LOCK
from segkd.experiment.settings import parse, training_parser
from segkd.types import InputError


@pytest.fixture
def parsed():
    parser = training_parser()
    return parser, parse(parser, ["--config", "quickstart.yaml"])


def claim(folder, parser, config, resume):
    return claim_folder(folder, parser, resolved_text(parser, config), resume)


def test_a_new_folder_gets_the_whole_configuration(tmp_path, parsed):
    claim(tmp_path / "a" / "run", *parsed, resume=False)
    parser = training_parser()
    again = parse(parser, ["--config", str(tmp_path / "a" / "run" / "config.yaml")])
    assert again.data == parsed[1].data and again.optim == parsed[1].optim
    assert not checkpoint_of(tmp_path / "a" / "run").exists()


def test_a_folder_whose_training_never_began_may_be_used_again(tmp_path, parsed):
    claim(tmp_path / "run", *parsed, resume=False)
    (tmp_path / "run" / LOCK).touch()  # as every training leaves it
    claim(tmp_path / "run", *parsed, resume=False)


def test_a_configuration_that_lies_there_before_any_training_is_the_user_s(tmp_path, parsed):
    (tmp_path / "config.yaml").write_text("# my notes\n")
    with pytest.raises(InputError, match="in use"):
        claim(tmp_path, *parsed, resume=False)
    assert (tmp_path / "config.yaml").read_text() == "# my notes\n"


def test_a_folder_in_use_and_a_file_are_refused(tmp_path, parsed):
    (tmp_path / "notes.txt").write_text("mine")
    for place, found in ((tmp_path, "found one in use"), (tmp_path / "notes.txt", "found a file")):
        with pytest.raises(InputError, match=found):
            claim(place, *parsed, resume=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path, parsed):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        claim(tmp_path / "file" / "run", *parsed, resume=False)


def test_going_on_with_another_configuration_names_what_differs(tmp_path, parsed):
    claim(tmp_path, *parsed, resume=False)
    parser, config = parsed
    claim(tmp_path, parser, config, resume=True)
    config.optim.lr = 0.5
    with pytest.raises(InputError, match=r"optim\.lr: 0\.002 then, 0\.5 now"):
        claim(tmp_path, parser, config, resume=True)


def test_a_run_of_before_crops_had_the_image_s_shape_goes_on_as_it_began(tmp_path, parsed, monkeypatch):
    parser, config = parsed
    claim(tmp_path, parser, config, resume=False)
    path = tmp_path / "config.yaml"
    assert as_it_began(path) == {}
    path.write_text(path.read_text().replace("    ratio_of: image\n", ""))
    assert config_today(path, resolved_text(parser, config))["data.augment.ratio_of"] == "output"
    assert method_of(tmp_path)["data.augment.ratio_of"] == "output"
    own = []
    monkeypatch.setattr("segkd.experiment.training.run_training", lambda parser, config, *_, **__: own.append(config))
    with pytest.raises(AttributeError):  # nothing was trained
        train(["--resume", str(tmp_path)])
    assert own[0].data.augment.ratio_of == "output"
    claim(tmp_path, parser, own[0], resume=True)
    with pytest.raises(InputError, match=r"data\.augment\.ratio_of: output then, image now"):
        claim(tmp_path, parser, config, resume=True)
    path.write_text("data: {augment: null}\n")
    assert as_it_began(path) == {}
