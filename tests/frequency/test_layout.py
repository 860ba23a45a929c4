import pytest
import torch

from segkd.frequency.image import planes_of
from segkd.frequency.layout import lay_out
from segkd.frequency.quantize import quantize
from segkd.frequency.rounding import straight_through
from segkd.frequency.tables import AnnexK, Flat
from segkd.types import InputError


@pytest.mark.parametrize("color", ["rgb", "ycbcr444", "ycbcr420"])
@pytest.mark.parametrize("granularity", ["coefficient", "pixel", "block", "image"])
@pytest.mark.parametrize(("block", "size"), [(8, (33, 50)), (16, (64, 32)), (4, (7, 9))])
def test_tables_fit_the_planes_of_any_image_and_start_at_the_start_table(color, granularity, block, size):
    layout = lay_out(AnnexK(30.0), color, block, granularity, size)
    b = 2 if granularity == "image" else 1
    tables = layout.tables(torch.zeros(b, layout.entries))
    planes = planes_of(torch.rand(2, 3, *size), color, block)
    assert len(tables) == len(planes)
    for table, plane, group in zip(tables, planes, layout.groups):
        quantize(plane, table, straight_through, block)
        torch.testing.assert_close(table, group.start[None, :, None, :, None, :].expand(table.shape))
    entries = {"coefficient": 3 * block**2, "image": 3 * block**2}
    area = {"pixel": 1, "block": block**2}
    if granularity in area:
        assert layout.entries == sum(plane[0].numel() for plane in planes) // area[granularity]
    else:
        assert layout.entries == entries[granularity]


@pytest.mark.parametrize("granularity", ["coefficient", "pixel", "block"])
def test_limits_keep_every_step_within_the_bounds(granularity):
    layout = lay_out(AnnexK(50.0), "ycbcr420", 8, granularity, (32, 32))
    low, high, power = layout.limits((0.01, 0.8))
    for theta, edge in ((low, "amin"), (high, "amax")):
        steps = torch.cat([t.flatten() for t in layout.tables(theta[None])])
        assert steps.min() >= 0.0099 and steps.max() <= 0.801
        assert float(getattr(steps, edge)()) == pytest.approx(0.01 if edge == "amin" else 0.8, rel=1e-3)
    assert (power > 0).all() and len(power) == layout.entries


def test_a_flat_start_has_the_power_of_its_step():
    _, _, power = lay_out(Flat(0.12), "rgb", 8, "block", (16, 16)).limits((0.01, 1.0))
    torch.testing.assert_close(power, torch.full((12,), 0.12**2 / 12))
    layout = lay_out(AnnexK(50.0), "rgb", 8, "block", (16, 16))  # of a block the mean over its coefficients
    mean = layout.groups[0].start[0].square().mean() / 12
    torch.testing.assert_close(layout.limits((0.01, 1.0))[2], mean.expand(12))


@pytest.mark.parametrize("color", ["rgb", "ycbcr444", "ycbcr420"])
@pytest.mark.parametrize("granularity", ["coefficient", "pixel", "block", "image"])
def test_an_entry_counts_as_many_coefficients_of_an_image_as_it_stands_for(color, granularity):
    layout = lay_out(AnnexK(30.0), color, 8, granularity, (48, 32))
    theta, weights = torch.randn(1, layout.entries), layout.weights()
    planes = planes_of(torch.rand(1, 3, 48, 32), color, 8)
    assert float(weights.mean()) == pytest.approx(1)
    total, coefficients = 0.0, 0
    for plane, table, start in zip(planes, layout.tables(theta), (group.start for group in layout.groups)):
        _, c, h, w = plane.shape
        everywhere = table.expand(1, c, h // 8, 8, w // 8, 8) if table.shape[2] == 1 else table
        octaves = (everywhere / start[None, :, None, :, None, :]).log2().expand(1, c, h // 8, 8, w // 8, 8)
        total, coefficients = total + float(octaves.sum()), coefficients + plane.numel()
    assert float((weights * theta).mean()) == pytest.approx(total / coefficients, abs=1e-5)


def test_entries_per_pixel_need_a_size():
    with pytest.raises(InputError, match=r"granularity pixel.*size \[h, w\].* but of none within a teacher"):
        lay_out(Flat(), "rgb", 8, "pixel", None)
