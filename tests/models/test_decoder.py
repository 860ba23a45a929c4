import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segkd.models.decoder import Context, FusionDecoder, GatedMerge, resize, separable

CHANNELS, WIDTH = (6, 8, 10, 12), 8


def pyramid(height: int, width: int, b: int = 2) -> list[torch.Tensor]:
    """Levels at strides 4 to 32 of an image, as convolutions with padding leave them: rounded up."""
    return [torch.rand(b, c, -(-height // s), -(-width // s)) for c, s in zip(CHANNELS, (4, 8, 16, 32))]


@settings(max_examples=20, deadline=None)
@given(height=st.integers(5, 150), width=st.integers(5, 150))
def test_every_fused_level_keeps_the_size_of_its_own(height, width):
    levels = pyramid(height, width)
    fused = FusionDecoder(CHANNELS, WIDTH).eval()(levels)
    assert [f.shape for f in fused] == [(2, WIDTH, *level.shape[2:]) for level in levels]


def test_every_fused_level_sees_every_encoder_level():
    """Both ways: semantics reach the finest level, detail reaches the coarsest."""
    decoder = FusionDecoder(CHANNELS, WIDTH).eval()
    levels = [level.requires_grad_() for level in pyramid(64, 96)]
    for fused in decoder(levels):
        grads = torch.autograd.grad(fused.square().sum(), levels, retain_graph=True)
        assert all(grad.abs().sum() > 0 for grad in grads)


def test_every_parameter_of_the_decoder_learns():
    decoder = FusionDecoder(CHANNELS, WIDTH)
    torch.stack([fused.square().sum() for fused in decoder(pyramid(64, 96))]).sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
    # a BatchNorm's shift may be undone by the next BatchNorm; a convolution's weights may not
    assert all(p.grad.any() for p in decoder.parameters() if p.ndim == 4)


@pytest.mark.parametrize(("bias", "wins"), [(40.0, 0), (-40.0, 1)])
def test_an_open_gate_passes_the_first_input_and_a_shut_one_the_second(bias, wins):
    merge = GatedMerge(4).eval()
    nn.init.zeros_(merge.gate.weight)
    nn.init.constant_(merge.gate.bias, bias)
    inputs = torch.rand(1, 4, 6, 6), torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(merge(*inputs), merge.mix(inputs[wins]))
    assert not torch.allclose(merge(*inputs), merge.mix(inputs[1 - wins]))


def test_a_gate_between_equal_inputs_changes_nothing():
    merge = GatedMerge(4).eval()
    same = torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(merge(same, same), merge.mix(same))


def test_context_tells_every_pixel_of_the_whole_image():
    context = Context(3, 4).eval()
    x = torch.rand(1, 3, 12, 12, requires_grad=True)
    (grad,) = torch.autograd.grad(context(x)[0, :, 0, 0].square().sum(), x)
    assert (grad.abs().sum(dim=1) > 0).all()


def test_a_separable_convolution_mixes_channels_only_pointwise():
    layer = separable(3, 5)
    assert layer[0].groups == 3 and layer[2].kernel_size == (1, 1)
    x = torch.rand(1, 3, 9, 9)
    y = layer.eval()(x)
    assert y.shape == (1, 5, 9, 9) and (y >= 0).all()
    far = x.clone()
    far[..., 6:, 6:] += 1
    assert torch.equal(layer(far)[..., :5, :5], y[..., :5, :5])


def test_resize_returns_the_tensor_itself_at_equal_size_and_keeps_a_constant():
    x = torch.rand(1, 2, 5, 7)
    assert resize(x, torch.rand(1, 9, 5, 7)) is x
    torch.testing.assert_close(
        resize(torch.full((1, 2, 5, 7), 0.3), torch.rand(1, 9, 11, 4)), torch.full((1, 2, 11, 4), 0.3)
    )


def test_resize_does_not_shift():
    """A ramp stays the same ramp in the image's own coordinates, pixel centre to pixel centre."""
    ramp = ((torch.arange(8.0) + 0.5) / 8).expand(1, 1, 8, 8)
    fine = resize(ramp, torch.rand(1, 1, 32, 32))
    inner = (torch.arange(32.0) + 0.5) / 32
    torch.testing.assert_close(fine[0, 0, 16, 2:-2], inner[2:-2])
