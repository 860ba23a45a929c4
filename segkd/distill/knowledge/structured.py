"""Attention over places and over channels together."""

from typing import final

from jaxtyping import Bool, Float
from torch import Tensor, nn

from segkd.distill.base import Knowledge
from segkd.distill.knowledge.feature import attention_distance, label_at, mean_over_levels, refuse_uneven
from segkd.losses import global_mean, refuse_weights
from segkd.models.decoder import resize
from segkd.types import IGNORE, Batch, Prediction


def channel_attention(level: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b h w"]) -> Float[Tensor, "b c"]:
    """log softmax_c(a_c / mean_c a), a_c = sum_V |F_c|: which channels speak, whatever the scale of the features."""
    strength = level.float().abs().masked_fill(~valid.unsqueeze(1), 0.0).sum(dim=(2, 3))
    return (strength / strength.mean(dim=1, keepdim=True).clamp_min(1e-6)).log_softmax(dim=1)


def channel_divergence(
    student: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b h w"]
) -> Float[Tensor, ""]:
    """mean_b KL(target || student) of `channel_attention`."""
    ours, theirs = channel_attention(student, valid), channel_attention(target, valid)
    return global_mean((theirs.exp() * (theirs - ours)).sum(dim=1), valid.flatten(1).any(dim=1))


@final
class StructuredAttention(Knowledge):
    """Where the teacher's features are strong, and which of its channels are: spatial attention (`attention_distance`
    of segkd's Attention) and `channel_divergence`, mean over the levels. Inspired by Structured Attention Knowledge
    Distillation for Lightweight Networks (CCDC 2021), of which no formula is public.

    Args:
        spatial: weight of the first part.
        channel: weight of the second part. A level whose channels are not the teacher's goes through a 1x1 convolution
            for it.
    """

    reads = needs = frozenset({"features"})

    def __init__(self, spatial: float = 1.0, channel: float = 1.0) -> None:
        super().__init__()
        refuse_weights("StructuredAttention: spatial and channel", (spatial, channel))
        self.spatial, self.channel, self.projectors = spatial, channel, nn.ModuleList()

    def meet(self, student: Prediction, target: Prediction) -> None:
        """Makes a projector where channels differ. Raises InputError unless both have equally many levels."""
        refuse_uneven(self, student, target)
        pairs = [(a.shape[1], b.shape[1]) for a, b in zip(student.features, target.features)]
        self.projectors.extend(nn.Identity() if a == b or not self.channel else nn.Conv2d(a, b, 1) for a, b in pairs)

    def forward(self, student: Prediction, target: Prediction, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the levels and the images of all processes."""
        losses = []
        for one, goal, project in zip(student.features, target.features, self.projectors):
            valid, loss = label_at(batch, one) != IGNORE, one.new_zeros(())
            if self.spatial:
                loss = loss + self.spatial * attention_distance(one, resize(goal, one), valid)
            if self.channel:
                loss = loss + self.channel * channel_divergence(project(one), resize(goal, one), valid)
            losses.append(loss)
        return mean_over_levels(losses)
