"""Attribution of predictions to wavelengths, by occlusion and by the attention of the transformer."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from spectromer.errors import ArgumentError, ReadError
from spectromer.labels import CATEGORIES
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.looking import UNREADABLE, draw_files, plot
from spectromer.learning.metrics import catastrophic_limits
from spectromer.learning.plots import STYLE
from spectromer.learning.predictor import Predictor
from spectromer.spectra import Spectrum, SpectrumBatch

__all__ = ["UNREADABLE", "attention", "draw", "explain_files", "occlusion"]


@torch.no_grad()
def occlusion(predictor: Predictor, batch: SpectrumBatch, windows: int = 64) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute how much less probable each prediction becomes when a window of the spectrum is masked.

    Parameters
    ----------
    predictor : Predictor
        The trained model.
    batch : SpectrumBatch
        A batch of one spectrum.
    windows : int
        Number of windows, which are equally wide in ln(wavelength).

    Returns
    -------
    edges : Tensor [windows + 1] float64
        Edges of the windows in Angstrom.
    drop : dict of Tensor [windows]
        Effect of each window on each target. For class and subclass it is the decrease of ln p of the predicted value.
        For z it is the decrease of ln p of a redshift within the catastrophic limit of the predicted z. For scalars it
        is the absolute change in units of the predicted standard deviation.

    Raises
    ------
    ArgumentError
        If the batch does not hold exactly one spectrum, or the spectrum has no good pixel.
    """
    if len(batch) != 1:
        raise ArgumentError(f"batch must hold one spectrum, got {len(batch)}")
    good = batch.wavelength.expand(batch.flux.shape)[batch.ivar > 0]
    if not len(good):
        raise ArgumentError(f"spectrum {batch.ids[0]} has no good pixel")
    low, high = math.log(float(good.min())), math.log(float(good.max()) * (1 + 1e-9))
    edges = torch.exp(torch.linspace(low, high, windows + 1, dtype=torch.float64))
    window = torch.bucketize(batch.wavelength.expand(batch.flux.shape)[0].double(), edges, right=True) - 1
    # Row 0 is the whole spectrum. In each further row one window is masked.
    masks = torch.cat((torch.zeros(1, len(window), dtype=torch.bool), window == torch.arange(windows)[:, None]))
    copies = replace(
        batch,
        flux=batch.flux.expand(windows + 1, -1).contiguous(),
        ivar=batch.ivar.expand(windows + 1, -1).masked_fill(masks, 0.0),
        wavelength=batch.wavelength if batch.wavelength.ndim == 1 else batch.wavelength[0],
        ids=batch.ids * (windows + 1),
        surveys=batch.surveys * (windows + 1),
    )
    out = predictor.outputs(copies)[1]
    calibration, drop = predictor.calibration, {}
    for name in predictor.model.targets.names:
        if name in CATEGORIES:
            p = calibration.probabilities(name, out[name])
            log_p = p[:, p[0].argmax()].clamp(min=1e-12).log()
        elif name == "z":
            redshift = calibration.redshift(predictor.model, out["z"])
            limit = catastrophic_limits(calibration.classes(predictor.model, out)[:1])
            around = redshift.z[:1] + torch.stack((-limit, limit), 1) * (1 + redshift.z[:1])
            log_p = redshift.cdf(around.expand(windows + 1, 2)).diff(dim=1)[:, 0].clamp(min=1e-12).log()
        else:
            value, sigma = predictor.model.head(name).estimate(out[name])
            log_p = -(value - value[0]).abs() / sigma[0]
        drop[name] = log_p[0] - log_p[1:]
    return edges, drop


@torch.no_grad()
def attention(predictor: Predictor, batch: SpectrumBatch) -> tuple[Tensor, Tensor]:
    """Compute the attention rollout of a ViT (Abnar & Zuidema 2020) as a function of wavelength.

    The rollout is the product over the layers of (A + I) / 2, where A is the attention of a layer averaged over its
    heads. It is the weight of each patch in each final token. The heads read the mean of the final tokens, so the
    weights are averaged over them.

    Parameters
    ----------
    predictor : Predictor
        The trained model.
    batch : SpectrumBatch
        The spectra.

    Returns
    -------
    edges : Tensor [K + 1] float64
        Edges of the wavelength bins in Angstrom.
    weights : Tensor [B, K]
        Attention to each bin, which sums to 1.

    Raises
    ------
    ArgumentError
        If the model is not a ViT, or its images have no fixed log-linear wavelength axis.
    """
    encoder = predictor.model.encoder
    picture = predictor.design.picture
    if picture is None or picture.wavelength_range is None or not isinstance(encoder, ImageEncoder) or not encoder.axis:
        raise ArgumentError("attention needs a ViT that reads images with a fixed logarithmic wavelength axis")
    images = predictor.transform(batch.to(predictor.device))
    vit: Any = encoder.backbone
    with _attentions(vit) as layers:
        predictor.model(images)
    tokens = layers[0].shape[-1]
    rollout = torch.eye(tokens, device=images.device)
    for layer in layers:
        rollout = 0.5 * (layer.mean(1) + torch.eye(tokens, device=images.device)) @ rollout
    prefix = vit.num_prefix_tokens
    read = rollout[:, prefix:, prefix:].mean(1)
    weights = read.new_zeros(len(read), math.prod(vit.patch_embed.grid_size)).scatter(1, encoder.kept(images), read)
    along = encoder.axis.along(weights).cpu()
    edges = picture.wavelength_range[0] * torch.exp(
        encoder.axis.step * encoder.axis.patch * torch.arange(along.shape[1] + 1, dtype=torch.float64)
    )
    return edges, along / along.sum(1, keepdim=True)


@contextmanager
def _attentions(vit: Any) -> Iterator[list[Tensor]]:
    """Collect the attention [B, heads, T, T] of each block while the ViT runs, without its fused kernels."""
    layers: list[Tensor] = []
    hooks, fused = [], [block.attn.fused_attn for block in vit.blocks]
    for block in vit.blocks:
        block.attn.fused_attn = False
        hooks.append(block.attn.attn_drop.register_forward_hook(lambda _, __, out: layers.append(out)))
    try:
        yield layers
    finally:
        for block, was_fused, hook in zip(vit.blocks, fused, hooks, strict=True):
            block.attn.fused_attn = was_fused
            hook.remove()


def draw(predictor: Predictor, spectrum: Spectrum, path: Path) -> None:
    """Plot a spectrum, the lines of its predicted class at the predicted z, and the attribution of the predictions."""
    batch = SpectrumBatch.from_spectra([spectrum])
    row = predictor.predict(batch)[0]
    edges, drop = occlusion(predictor, batch)
    try:
        at, weights = attention(predictor, batch)
    except ArgumentError:  # the model is not a ViT with a fixed axis
        at = None
    lower = len(drop) + (at is not None)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 2.6 + 1.1 * lower))
        panels = figure.subplots(1 + lower, 1, sharex=True, height_ratios=[2.5] + [1] * lower)
        plot(spectrum, row, panels[0]).set_xlabel("")
        for axes, (name, value) in zip(panels[1:], drop.items(), strict=False):
            axes.stairs(value.numpy(), edges.numpy(), fill=True, color="C0")
            axes.set_ylabel(f"{name}\nwithout", fontsize=7)
        if at is not None:
            panels[-1].stairs(weights[0].numpy(), at.numpy(), fill=True, color="C1")
            panels[-1].set_ylabel("attention", fontsize=7)
        panels[-1].set_xlabel("vacuum wavelength (Å)")
        figure.savefig(path, bbox_inches="tight", format="png")


def explain_files(run: Path, paths: Sequence[str], out: Path) -> tuple[int, list[ReadError]]:
    """Plot the attribution of the predictions for each spectrum. See `draw_files` for the arguments."""
    return draw_files(run, paths, out, draw, "explaining")
