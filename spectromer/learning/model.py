"""The model: an encoder and one head per target."""

from typing import Any

import torch
from torch import Tensor, nn

from spectromer.config import HeadKind, RedshiftMethod
from spectromer.errors import ModelError
from spectromer.labels import CATEGORIES
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.heads import CategoryHead, ScalarHead, is_known
from spectromer.learning.redshift import STRETCHES, RedshiftHead
from spectromer.learning.specformer import SpecFormer
from spectromer.learning.targets import LOGARITHMIC, Targets

__all__ = ["SpectrumModel"]


class SpectrumModel(nn.Module):
    """An encoder and its heads.

    Parameters
    ----------
    encoder : ImageEncoder or SpecFormer
    targets : Targets
    heads : {"linear", "mlp"}
        Whether the heads have a hidden layer; that of the redshift has none.
    redshift_head : {"correlation", "pooled"}
        Whether the redshift is looked for along the wavelength axis, where there is one, or in the mean token alone.
    """

    def __init__(
        self,
        encoder: ImageEncoder | SpecFormer,
        targets: Targets,
        heads: HeadKind = "linear",
        redshift_head: RedshiftMethod = "correlation",
    ) -> None:
        super().__init__()
        self.encoder, self.targets = encoder, targets
        width, hidden = encoder.width, heads == "mlp"
        told = len(STRETCHES) + 1 if "z" in targets.names else 0
        made: dict[str, nn.Module] = {}
        for name in targets.names:
            if name in CATEGORIES:
                made[name] = CategoryHead(width + told, len(targets.vocabulary[name]), hidden)
            elif name == "z":
                axis = encoder.axis
                step = None if axis is None else axis.step / axis.samples
                axis = axis if redshift_head == "correlation" else None
                made[name] = RedshiftHead(width, axis, targets.scale["z"][1], step)
            else:
                made[name] = ScalarHead(width, *targets.scale[name], name in LOGARITHMIC, hidden)
        # "class" names no attribute of a ModuleDict, but keys may still clash with its methods: keep them apart.
        self.heads: nn.ModuleDict = nn.ModuleDict({f"{name}_head": head for name, head in made.items()})

    def head(self, name: str) -> Any:
        """The head of one target."""
        return self.heads[f"{name}_head"]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """What the encoder reads [B, ...] to each head's output (logits, or mean and ln sigma), and `pooled` [B, D]."""
        tokens, pooled = self.encoder(inputs)
        out, told = {"pooled": pooled}, pooled
        if "z" in self.targets.names:
            head = self.head("z")
            out["z"] = head(tokens, pooled)
            # What z is tells much of what it is; what it is shall not bend z.
            told = torch.cat((pooled, head.coarse(out["z"].detach()).to(pooled.dtype)), 1)
        for name in self.targets.names:
            if name != "z":
                out[name] = self.head(name)(told if name in CATEGORIES else pooled)
        return out

    def losses(self, out: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss of each target over the spectra that have its label (0 where none has)."""
        losses = {}
        for name in self.targets.names:
            value = labels[name]
            known = is_known(value)
            each = self.head(name).loss(out[name], torch.where(known, value, torch.ones_like(value)))
            losses[name] = torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
        return losses

    def take_over(self, weights: dict[str, Tensor], targets: Targets) -> list[str]:
        """Start from the weights of another model with the same encoder, which learnt `targets`.

        A value of a category that both know keeps its weights, and so do the redshifts that both tell apart; `targets`
        passed through `Targets.following` keep those of their numbers.

        Returns
        -------
        list of str
            The targets whose heads were taken over.

        Raises
        ------
        ModelError
            When its encoder is another.
        """
        own = self.state_dict()
        differing = [
            name
            for name, tensor in own.items()
            if name.startswith("encoder.") and (name not in weights or weights[name].shape != tensor.shape)
        ]
        if differing:
            raise ModelError(f"the run's encoder is not the one asked for: {', '.join(differing[:3])} differ")
        taken = {name: weights[name] for name in own if name.startswith("encoder.")}
        followed = []
        for name in set(self.targets.names) & set(targets.names):
            prefix = f"heads.{name}_head."
            theirs = {key: value for key, value in weights.items() if key.startswith(prefix)}
            mine = {key: value for key, value in own.items() if key.startswith(prefix)}
            if name in CATEGORIES and f"{prefix}output.weight" in theirs:
                old, new = targets.vocabulary[name], self.targets.vocabulary[name]
                for part in ("weight", "bias"):
                    rows = mine[f"{prefix}output.{part}"].clone()
                    for i, value in enumerate(new):
                        if value in old and rows[i].shape == theirs[f"{prefix}output.{part}"][0].shape:
                            rows[i] = theirs[f"{prefix}output.{part}"][old.index(value)]
                    theirs[f"{prefix}output.{part}"] = rows
            if name == "z" and theirs.keys() == mine.keys():
                known = self.head("z").following({key.removeprefix(prefix): value for key, value in theirs.items()})
                theirs = {prefix + key: value for key, value in known.items()}
            if {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in mine.items()}:
                taken |= theirs
                followed.append(name)
        self.load_state_dict(own | taken)
        return sorted(followed)
