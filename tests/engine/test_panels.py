from dataclasses import replace

import numpy as np
import torch

from segkd.datasets.palette import class_colours, paint_label
from segkd.distill.base import Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.panels import disturbed_panel, paint_shares, panel, teacher_quality
from segkd.models.fusion import FusionNet
from segkd.types import IGNORE, Disturbance
from tests.conftest import TINY


def test_a_row_per_image_and_a_column_per_picture(make_batch):
    network = FusionNet(3, TINY, None, width=16)
    taught = Distiller(teachers={"label": LabelTeacher("constant", 0.9)}, terms={"response": Term(Response())})
    batch = make_batch(classes=3, b=2, size=(32, 48))
    picture, quality = panel(network, taught, batch)
    assert picture.shape == (2 * 32, 5 * 48, 3) and picture.dtype == np.uint8 and network.training
    assert quality["label/agreement"] == 1.0
    with torch.no_grad():
        shares = network.eval()(batch.image).logits.softmax(dim=1)
    network.train()
    right = shares.gather(1, batch.label.masked_fill(~batch.valid, 0).unsqueeze(1))[:, 0]
    error = torch.where(batch.valid, 255 * (1 - right), 0.0).flatten(0, 1)
    assert np.abs(picture[:, -48:].astype(float) - error[..., None].numpy()).max() <= 1
    plain, none = panel(network, Distiller(), batch)
    assert plain.shape == (2 * 32, 4 * 48, 3) and none == {}


class FirstDarker(Disturbance):
    def forward(self, batch):
        image = batch.image.clone()
        image[0] -= 0.1
        return replace(batch, image=image)


def test_the_noise_of_a_disturbance_is_that_of_the_images_that_it_changed(make_batch):
    batch = make_batch(b=2)
    batch.image.clamp_(min=0.1)
    picture, quality = disturbed_panel(FirstDarker(), batch)
    assert abs(quality["psnr"] - 20) < 1e-3
    left, right = picture[:, :32].astype(int), picture[:, 32:]
    assert np.abs(left[:32] - right[:32] - 25.5).max() <= 1 and (left[32:] == right[32:]).all()


def test_teacher_quality_against_numbers_by_hand(make_batch):
    batch = make_batch(b=1, size=(4, 4), ignored=0.0)
    batch.label[:] = 0
    batch.label[0, 0, 0] = IGNORE
    shares = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1).repeat(1, 1, 4, 4)
    shares[:, :, 3] = torch.tensor([0.0, 1.0]).view(1, 2, 1)
    quality = teacher_quality(shares, batch)
    assert abs(quality["agreement"] - 11 / 15) < 1e-6
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) * 11 / 15
    assert abs(quality["entropy"] - entropy) < 1e-6


def test_colours_are_distinct_and_ignored_pixels_grey():
    colours = class_colours(11).astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(axis=-1) + 1000 * np.eye(11, dtype=int)
    assert apart.min() > 40
    assert (paint_label(np.array([[IGNORE]]), 3) == 110).all()
    assert (paint_shares(np.array([[[0.0]], [[1.0]]])) == class_colours(2)[1]).all()
