"""The model, which consists of an encoder and one head per target."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spectromer.config import HeadKind, RedshiftMethod
from spectromer.errors import ModelError
from spectromer.labels import CATEGORIES
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.heads import CategoryHead, ScalarHead, SubclassHead, known_mask
from spectromer.learning.redshift import COARSE_EDGES, RedshiftHead
from spectromer.learning.specformer import SpecFormer
from spectromer.learning.targets import LOGARITHMIC, Targets
from spectromer.subclasses import scale_position, spectral_type

__all__ = ["SpectrumModel"]

_NEAR = 2  # subtypes


class SpectrumModel(nn.Module):
    """An encoder with one head per target.

    Parameters
    ----------
    encoder : ImageEncoder or SpecFormer
        Encoder of the images or sequences.
    targets : Targets
        Targets to learn, with their vocabularies and scales.
    heads : {"linear", "mlp"}
        "mlp" adds a hidden layer to every head except the redshift head.
    redshift_head : {"correlation", "pooled"}
        "correlation" cross-correlates the tokens along the wavelength axis, if there is one. "pooled" uses only the
        features of the whole image.
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
        context_width = len(COARSE_EDGES) + 1 if "z" in targets.names else 0
        modules: dict[str, nn.Module] = {}
        for name in targets.names:
            if name == "subclass":
                modules[name] = SubclassHead(width + context_width, targets.vocabulary[name], hidden)
            elif name in CATEGORIES:
                modules[name] = CategoryHead(width + context_width, len(targets.vocabulary[name]), hidden)
            elif name == "z":
                axis = encoder.axis
                step = None if axis is None else axis.step / axis.samples
                axis = axis if redshift_head == "correlation" else None
                modules[name] = RedshiftHead(width, axis, targets.scale["z"][1], step)
            else:
                modules[name] = ScalarHead(width, *targets.scale[name], name in LOGARITHMIC, hidden)
        # The suffix keeps the names of targets from clashing with the methods of ModuleDict.
        self.heads: nn.ModuleDict = nn.ModuleDict({f"{name}_head": head for name, head in modules.items()})

    def head(self, name: str) -> Any:
        """Return the head of one target."""
        return self.heads[f"{name}_head"]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Compute the outputs of all heads.

        Parameters
        ----------
        inputs : Tensor [B, ...]
            Images or sequences, as the encoder takes them.

        Returns
        -------
        dict of Tensor
            The output of each head, under the name of its target: logits, or mean and ln sigma. `pooled` [B, D] are the
            features of the whole image.
        """
        tokens, pooled = self.encoder(inputs)
        out, context = {"pooled": pooled}, pooled
        if "z" in self.targets.names:
            head = self.head("z")
            out["z"] = head(tokens, pooled)
            # The redshift informs the class, but the loss of the class must not change the redshift.
            context = torch.cat((pooled, head.coarse_probabilities(out["z"].detach()).to(pooled.dtype)), 1)
        for name in self.targets.names:
            if name != "z":
                out[name] = self.head(name)(context if name in CATEGORIES else pooled)
        return out

    def losses(self, out: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        """Sum of the losses of each target over the spectra with a known label, and their number, [2, targets].

        The mean loss of a batch, or of many, is the quotient of the summed rows.
        """
        sums, counts = [], []
        for name in self.targets.names:
            value = labels[name]
            known = known_mask(value)
            filler = torch.full_like(value, 1 if value.is_floating_point() else 0)  # 0 is a value of every category
            each = self.head(name).loss(out[name], torch.where(known, value, filler))
            sums.append(torch.where(known, each, torch.zeros_like(each)).sum())
            counts.append(known.sum())
        return torch.stack((torch.stack(sums).float(), torch.stack(counts).float()))

    def load_matching(self, weights: dict[str, Tensor], targets: Targets) -> list[str]:
        """Load the weights of another model with the same encoder.

        Weights are copied for the values of a category, and for the redshifts, that both models have. A subclass that
        only this model has begins with the weights of its spectral type, or else of the nearest subtype up to two
        subtypes away. The scalar heads are copied as they are, so the scales of this model must be those of the other
        (see `Targets.with_scales_of`).

        Parameters
        ----------
        weights : dict of Tensor
            State dict of the other model.
        targets : Targets
            Targets of the other model.

        Returns
        -------
        list of str
            Targets whose heads were loaded, sorted.

        Raises
        ------
        ModelError
            If the encoders differ.
        """
        state = self.state_dict()
        differing = [
            name
            for name, tensor in state.items()
            if name.startswith("encoder.") and (name not in weights or weights[name].shape != tensor.shape)
        ]
        if differing:
            raise ModelError(f"the run's encoder is not the one asked for: {', '.join(differing[:3])} differ")
        taken = {name: weights[name] for name in state if name.startswith("encoder.")}
        copied = []
        for name in set(self.targets.names) & set(targets.names):
            prefix = f"heads.{name}_head."
            loaded = {key: value for key, value in weights.items() if key.startswith(prefix)}
            current = {key: value for key, value in state.items() if key.startswith(prefix)}
            if name in CATEGORIES and f"{prefix}output.weight" in loaded:
                old, new = targets.vocabulary[name], self.targets.vocabulary[name]
                sources = [_source(value, old) for value in new]
                for part in ("weight", "bias"):
                    rows = current[f"{prefix}output.{part}"].clone()
                    for i, source in enumerate(sources):
                        if source is not None and rows[i].shape == loaded[f"{prefix}output.{part}"][0].shape:
                            rows[i] = loaded[f"{prefix}output.{part}"][old.index(source)]
                            if part == "bias" and source not in new:  # its parts share its probability
                                rows[i] -= math.log(sources.count(source))
                    loaded[f"{prefix}output.{part}"] = rows
            if name == "z" and loaded.keys() == current.keys():
                known = self.head("z").adapt_weights({key.removeprefix(prefix): value for key, value in loaded.items()})
                loaded = {prefix + key: value for key, value in known.items()}
            if {k: v.shape for k, v in loaded.items()} == {k: v.shape for k, v in current.items()}:
                taken |= loaded
                copied.append(name)
        self.load_state_dict(state | taken)
        return sorted(copied)


def _source(value: str, old: Sequence[str]) -> str | None:
    """The value of another model's category whose weights are the best start for `value`; None if there is none."""
    for one in (value, spectral_type(value)):
        if one in old:
            return one
    places = {one: at for one in old if (at := scale_position(one)) is not None}
    here = scale_position(value)
    near = {one: abs(at - here) for one, at in places.items()} if here is not None else {}
    best = min(near, key=near.__getitem__, default=None)
    return best if best is not None and near[best] <= _NEAR else None
