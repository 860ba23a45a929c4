import matplotlib.cbook
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import get_encoder

from segkd.models.encoders import PACKAGED, build_encoder, packaged_weights
from segkd.types import InputError

TIMM = ["test_efficientnet", "test_convnext", "test_resnet", "test_mambaout"]
SMP = ["resnet18", "mit_b0"]  # timm knows resnet18 too; mit_b0 is smp's alone
MILITARY_UNIFORM = 652


@pytest.fixture(scope="module")
def packaged():
    return packaged_weights()


def randomised(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A full state whose every floating tensor differs from any initialisation, constants included."""
    draw = torch.Generator().manual_seed(5)
    state = module.state_dict()
    return {k: torch.rand(v.shape, generator=draw) + 0.5 if v.is_floating_point() else v for k, v in state.items()}


def floating(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def test_every_encoder_tensor_is_the_package_s(packaged):
    body = floating(build_encoder(PACKAGED, "packaged").body)
    assert set(body) <= set(packaged)
    assert all(torch.equal(tensor, packaged[name]) for name, tensor in body.items())
    # nothing of the package but the classifier and what precedes it is left over
    assert {name.split(".")[0] for name in set(packaged) - set(body)} <= {"conv_head", "bn2", "classifier"}
    assert sum("running" in name for name in body) > 80


def test_packaged_weights_recognise_a_photo(packaged):
    """The photo of Grace Hopper that matplotlib ships, against the usual torchvision and timm demonstration."""
    network = timm.create_model(PACKAGED).eval()
    assert set(packaged) == set(floating(network))
    network.load_state_dict(packaged, strict=False)
    photo = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    pixels = np.array(photo.resize((224, 224), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    with torch.no_grad():
        logits = network((torch.from_numpy(pixels).permute(2, 0, 1)[None] - 0.5) / 0.5)
    assert MILITARY_UNIFORM in logits[0].topk(3).indices.tolist()


def test_the_packaged_encoder_normalises_as_its_weights_were_trained():
    encoder = build_encoder(PACKAGED, None)
    assert torch.equal(encoder.mean.flatten(), torch.full((3,), 0.5))
    assert torch.equal(encoder.std.flatten(), torch.full((3,), 0.5))


@pytest.mark.parametrize("name", [*TIMM, *SMP])
def test_levels_have_the_declared_channels_and_strides_finest_first(name):
    encoder = build_encoder(name, None).eval()
    assert list(encoder.strides) == sorted(set(encoder.strides)) and len(encoder.strides) >= 4
    with torch.no_grad():
        levels = encoder(torch.rand(2, 3, 64, 96))
    expected = [(2, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, encoder.strides)]
    assert [tuple(level.shape) for level in levels] == expected


@pytest.mark.parametrize("name", [*TIMM, *SMP])
def test_every_trainable_parameter_gets_a_gradient_and_most_are_trainable(name):
    encoder = build_encoder(name, None)
    torch.stack([level.square().sum() for level in encoder(torch.rand(2, 3, 64, 64))]).sum().backward()
    learning = [p for p in encoder.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in learning)
    assert all(p.grad is None for p in encoder.parameters() if not p.requires_grad)
    assert sum(p.numel() for p in learning) > 0.5 * sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("name", ["test_efficientnet", "mit_b0"])
def test_the_image_is_normalised_inside(name):
    encoder = build_encoder(name, None).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        bare = encoder.body((image - encoder.mean) / encoder.std)
        assert torch.equal(encoder(image)[-1], bare[-1])
        assert not torch.allclose(encoder(image)[-1], encoder.body(image)[-1])


def test_a_fresh_encoder_is_in_training_mode_with_no_gradient_left_behind():
    encoder = build_encoder("test_efficientnet", None)
    assert all(module.training for module in encoder.modules())
    assert all(p.grad is None for p in encoder.parameters())
    statistics = [b for name, b in encoder.named_buffers() if name.endswith("running_mean")]
    assert statistics and all((b == 0).all() for b in statistics)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "mit_b0"])
def test_a_local_file_is_loaded_whole(name, suffix, tmp_path):
    full = timm.create_model(name) if timm.is_model(name) else get_encoder(name, depth=5, weights=None)
    state = randomised(full)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    body = floating(build_encoder(name, str(path)).body)
    # timm joins `stages.0` to `stages_0` where it lifts stages out of the network
    given = {key.replace(".", "_"): tensor for key, tensor in state.items()}
    assert body and all(torch.equal(tensor, given[key.replace(".", "_")]) for key, tensor in body.items())


@pytest.mark.parametrize("inside", ["state_dict", "model"])
@pytest.mark.parametrize("name", ["test_efficientnet", "mit_b0"])
def test_weights_inside_a_checkpoint_are_found(name, inside, tmp_path):
    state = randomised(timm.create_model(name) if timm.is_model(name) else get_encoder(name, depth=5, weights=None))
    torch.save({inside: state, "epoch": 3}, tmp_path / "checkpoint.pth")
    body = floating(build_encoder(name, str(tmp_path / "checkpoint.pth")).body)
    assert body and all(torch.equal(tensor, state[key]) for key, tensor in body.items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_of_an_encoder_s_weights_is_named(suffix, tmp_path):
    (tmp_path / f"cut{suffix}").write_bytes(b"cut")
    with pytest.raises(InputError, match=rf"cut\{suffix}: expected a (whole safetensors|torch) file"):
        build_encoder("mit_b0", str(tmp_path / f"cut{suffix}"))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "mit_b0"])
def test_a_file_of_another_network_is_refused_rather_than_left_random(name, tmp_path):
    torch.save(timm.create_model("test_byobnet").state_dict(), tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth"):
        build_encoder(name, str(tmp_path / "other.pth"))


def test_a_file_that_lacks_one_tensor_is_refused_by_its_name(tmp_path):
    state = timm.create_model("test_efficientnet").state_dict()
    del state["conv_stem.weight"]
    torch.save(state, tmp_path / "partial.pth")
    with pytest.raises(InputError, match=r"partial\.pth.*conv_stem\.weight"):
        build_encoder("test_efficientnet", str(tmp_path / "partial.pth"))


@pytest.mark.parametrize("content", [b"not a tensor in sight", b"\x80\x02M", b"\x80\x02uabc"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["test_efficientnet", "mit_b0"])
def test_a_file_that_holds_no_weights_is_refused(name, suffix, content, tmp_path):
    path = tmp_path / f"garbage{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="garbage"):
        build_encoder(name, str(path))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.pth").touch()
    with pytest.raises(InputError, match=r"empty\.pth.*not one of weights"):
        build_encoder("test_efficientnet", str(tmp_path / "empty.pth"))


def test_a_missing_file_is_named(tmp_path):
    for name in ("test_efficientnet", "mit_b0"):
        with pytest.raises(InputError, match=r"nowhere\.pth.*no such file"):
            build_encoder(name, str(tmp_path / "nowhere.pth"))


def test_an_encoder_whose_library_has_other_weights_alone_says_so():
    with pytest.raises(InputError, match=r"resnext101_32x48d.*expected ImageNet weights, found in smp: instagram\."):
        build_encoder("resnext101_32x48d", "hub")


def test_an_unknown_name_gets_close_ones():
    with pytest.raises(InputError, match=r"'test_eficientnet'.*test_efficientnet"):
        build_encoder("test_eficientnet", None)


def test_names_that_two_libraries_know_are_proposed_once():
    with pytest.raises(InputError) as caught:
        build_encoder("resnet999", None)
    close = str(caught.value).partition("Close: ")[2].rstrip(".").split(", ")
    assert len(close) == len(set(close)) == 4 and "resnet50" in close


@pytest.mark.parametrize("name", ["test_efficientnet", "mit_b0"])
def test_packaged_weights_of_another_encoder_are_refused(name):
    with pytest.raises(InputError, match=f"{PACKAGED} only.*{name}"):
        build_encoder(name, "packaged")


def test_an_encoder_with_a_single_stride_is_refused():
    with pytest.raises(InputError, match=r"test_vit.*stride \[16\] only"):
        build_encoder("test_vit", None)


def test_an_encoder_of_one_image_size_is_refused():
    with pytest.raises(InputError, match="images of any size"):
        build_encoder("test_coatnet", None)
