import numpy as np
import pytest
from scipy.stats import t

from segkd.ablation.images import over_images, read_images
from segkd.ablation.rows import SCORES, Row
from segkd.types import InputError


def kept(folder, values, name="miou_image", more=""):
    """A `per_image.csv` of one score, as `segkd evaluate` writes it, and the row that knows of it."""
    folder.mkdir()
    lines = [f"{id},{'' if value is None else value}," for id, value in values.items()]
    (folder / "per_image.csv").write_text("\n".join([f"id,{name},fault", *lines, more]) + "\n")
    scores = dict.fromkeys(SCORES, float(np.mean([value for value in values.values() if value is not None])))
    return Row(folder.name, "data", 0, "", scores, 0, 0, 0.0, "", by_image=folder / "per_image.csv")


def test_the_mean_difference_and_students_interval_are_those_of_the_images_that_both_have(tmp_path):
    draw = np.random.default_rng(0)
    one = {f"a{n}": round(value, 4) for n, value in enumerate(draw.random(12))}
    other = {id: round(value + draw.normal(0.05, 0.02), 4) for id, value in one.items()} | {
        "b": 0.3,
        "c": 0.1,
        "d": None,
    }
    one |= {"d": 0.4}
    rows = [kept(tmp_path / "ours", other, more="e,,a torn file"), kept(tmp_path / "theirs", one)]
    said = over_images(rows, ["miou_image"], "theirs")
    gains = np.array([other[f"a{n}"] - one[f"a{n}"] for n in range(12)])
    half = t.ppf(0.975, 11) * gains.std(ddof=1) / np.sqrt(12)
    interval = f"{gains.mean():+.4f} [{gains.mean() - half:+.4f}, {gains.mean() + half:+.4f}]"
    assert said[0] == (
        f"miou_image, ours against theirs, image by image on data: gain {interval} over 12 images; left out: 2 that "
        "only one has, 1 without this score"
    )
    assert len(said) == 2 and "not about other trainings" in said[1]


def test_less_error_is_a_gain_and_scores_that_are_no_means_over_images_are_left_to_the_data_set(tmp_path):
    rows = [kept(tmp_path / "a", {"x": 0.3, "y": 0.5}, "mae"), kept(tmp_path / "b", {"x": 0.1, "y": 0.4}, "mae")]
    said = over_images(rows, ["f_max", "mae"], "a")
    assert said[0] == "mae, b against a, image by image on data: gain +0.1500 over 2 images" and len(said) == 2


def test_images_of_another_evaluation_than_the_scores_beside_them_are_not_compared(tmp_path):
    rows = [kept(tmp_path / "a", {"x": 0.3, "y": 0.5}), kept(tmp_path / "b", {"x": 0.1, "y": 0.4})]
    rows[1].scores["miou_image"] = 0.7  # scored again, as one file
    said = over_images(rows, ["miou_image"], "a")[0]
    assert said.endswith("not told, as " + str(rows[1].by_image) + " has a mean of 0.2500, the scores beside it 0.7000")


def test_other_images_have_no_mean(tmp_path):
    rows = [kept(tmp_path / "a", {"x": 0.3}), kept(tmp_path / "b", {"y": 0.1})]
    assert over_images(rows, ["miou_dataset"], "a")[0].endswith("no image in common; left out: 2 that only one has")
    assert over_images(rows[:1], ["miou_image"], "a") == []
    one = over_images([rows[0], kept(tmp_path / "c", {"x": 0.4})], ["miou_image"], "a")
    assert one[0].endswith("gain +0.1000 over 1 image")


@pytest.mark.parametrize("text", ["id,miou_image,fault\nx,good,\n", "name,miou_image\nx,0.5\n"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "per_image.csv").write_text(text)
    with pytest.raises(InputError, match=r"per_image\.csv, line 2: expected id and scores"):
        read_images(tmp_path / "per_image.csv")
