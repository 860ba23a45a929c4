"""Draws the picture of the README's first screen: python -m docs.draw_first (about three minutes).

Trains the quick start on the embedded data set, and shows three test images: what the network sees, its label, what a
virtual teacher that is less sure at the boundary makes of it, what the network says, and a quantised view of the
frequency stage.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt

from segkd import load_model
from segkd.datasets.embedded import Embedded, draw_sample
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.panels import paint_shares
from segkd.frequency.disturb import DctQuantization
from segkd.models.store import Model
from segkd.types import Batch, Prediction

FOLDER = Path(__file__).parent / "pictures"
COLUMNS = ("image", "label", "virtual teacher, at the boundary", "after training", "a view of the frequency stage")


def main() -> None:
    """Trains, and draws."""
    with tempfile.TemporaryDirectory() as folder:
        layers = ["--config", "quickstart.yaml", "--config", "methods/virtual_teacher.yaml"]
        run = ["--out", f"{folder}/run", "--engine.threads", "1"]
        subprocess.run([sys.executable, "-m", "segkd.cli", "train", *layers, *run], check=True)
        draw(Path(folder) / "run").savefig(FOLDER / "first.png", dpi=130)


def draw(run: Path) -> plt.Figure:
    """Rows of test images with what belongs to them."""
    model, settings = load_model(run), Embedded()
    first = settings.train + settings.val
    samples = [draw_sample(settings, first + index) for index in (1, 4, 6)]
    figure, axes = plt.subplots(3, 5, figsize=(10, 6.35), layout="constrained")
    torch.manual_seed(0)
    for axis, title in zip(axes[0], COLUMNS):
        axis.set_title(title, fontsize=9)
    for row, (image, label) in zip(axes, samples):
        for axis, picture in zip(row, columns_of(model, image, label)):
            axis.imshow(picture)
            axis.set_axis_off()
    return figure


@torch.no_grad()
def columns_of(model: Model, image: np.ndarray, label: np.ndarray) -> list[np.ndarray]:
    """The pictures of a row."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    batch = Batch(pixels, pixels, torch.from_numpy(label)[None].long(), None, ("one",))
    hard = np.stack([label != 1, label == 1]).astype(np.float32)
    seen = Prediction(torch.from_numpy(hard)[None])  # of the student, the teacher reads the number of classes alone
    soft = LabelTeacher(kind="boundary")(batch, seen, lambda images: seen).target.logits.softmax(dim=1)[0].numpy()
    quantised = DctQuantization(probability=1.0)(batch).image[0].clamp(0, 1).permute(1, 2, 0).numpy()
    return [image, paint_shares(hard), paint_shares(soft), paint_shares(model.predict(image)), quantised]


if __name__ == "__main__":
    main()
