"""Attribution of predictions to wavelengths, by occlusion and by the attention of the transformer."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from rich.progress import track
from torch import Tensor

from spectromer.errors import ArgumentError, ReadError, SpectromerError
from spectromer.files import atomic, check_folder, check_writable, write_rejected
from spectromer.labels import CATEGORIES
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.metrics import catastrophic_limits
from spectromer.learning.plots import STYLE
from spectromer.learning.predictor import Predictor
from spectromer.shards.batches import in_order
from spectromer.shards.sources import Input, open_inputs
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import read_each

__all__ = ["UNREADABLE", "attention", "draw", "explain_files", "occlusion"]

UNREADABLE = "unreadable.csv"
_BATCH = 64  # spectra of shards that are read at a time
_LONGEST_NAME = 200  # letters of a plot's name, so that the file system accepts it

#: Spectral lines to mark, by class. Vacuum wavelengths in Angstrom (NIST; Vanden Berk et al. 2001).
LINES: dict[str, dict[str, float]] = {
    "STAR": {
        "Ca K": 3934.8,
        "Hδ": 4102.9,
        "Ca I": 4227.9,
        "G": 4305.6,
        "Hγ": 4341.7,
        "Hβ": 4862.7,
        "Mg b": 5176.6,
        "Na D": 5894.6,
        "Hα": 6564.6,
        "TiO": 7055.0,
        "Ca II": 8544.4,
    },
    "GALAXY": {
        "[O II]": 3728.5,
        "K": 3934.8,
        "H": 3969.6,
        "G": 4305.6,
        "Hβ": 4862.7,
        "[O III]": 5008.2,
        "Mg b": 5176.6,
        "Na D": 5894.6,
        "Hα": 6564.6,
        "[S II]": 6725.5,
    },
    "QSO": {
        "Lyα": 1215.7,
        "Si IV": 1398.0,
        "C IV": 1549.1,
        "C III]": 1908.7,
        "Mg II": 2799.1,
        "[O II]": 3728.5,
        "Hγ": 4341.7,
        "Hβ": 4862.7,
        "[O III]": 5008.2,
        "Hα": 6564.6,
    },
}


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
    columns = row.colnames
    kind, z = (row["class"] if "class" in columns else ""), (float(row["z"]) if "z" in columns else 0.0)
    edges, drop = occlusion(predictor, batch)
    good = (spectrum.ivar > 0).numpy()
    wavelength, flux = spectrum.wavelength.numpy()[good], spectrum.flux.numpy()[good]
    try:
        at, weights = attention(predictor, batch)
    except ArgumentError:  # the model is not a ViT with a fixed axis
        at = None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 2.6 + 1.1 * (len(drop) + (at is not None))))
        panels = figure.subplots(
            1 + len(drop) + (at is not None), 1, sharex=True, height_ratios=[2.5] + [1] * (len(drop) + (at is not None))
        )
        top = panels[0]
        top.plot(wavelength, flux, lw=0.5, color="k")
        low, high = np.percentile(flux, [0.5, 99.5])
        margin = 0.15 * (high - low) or 1.0
        top.set(ylabel="flux", ylim=(low - margin, high + 2 * margin), xlim=(wavelength[0], wavelength[-1]))
        for name, rest in LINES.get(str(kind), {}).items():
            if wavelength[0] < rest * (1 + z) < wavelength[-1]:
                for axes in panels:
                    axes.axvline(rest * (1 + z), color="0.8", lw=0.6, zorder=0)
                top.text(rest * (1 + z), high + 1.9 * margin, name, fontsize=7, rotation=90, va="top", ha="right")
        summary = [f"{row[name]} ({row[f'{name}_prob']:.2f})" for name in CATEGORIES if name in columns]
        summary += [f"z = {z:.5f} ± {row['z_err']:.5f}, flag {row['z_flag']}"] if "z" in columns else []
        top.set_title(f"{spectrum.survey} {spectrum.id}: " + ", ".join(summary), fontsize=9)
        for axes, (name, value) in zip(panels[1:], drop.items(), strict=False):
            axes.stairs(value.numpy(), edges.numpy(), fill=True, color="C0")
            axes.set_ylabel(f"{name}\nwithout", fontsize=7)
        if at is not None:
            panels[-1].stairs(weights[0].numpy(), at.numpy(), fill=True, color="C1")
            panels[-1].set_ylabel("attention", fontsize=7)
        panels[-1].set_xlabel("wavelength (Å)")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight")


def _spectra(inputs: Sequence[Input]) -> Iterator[tuple[str, Spectrum | ReadError]]:
    """The spectra of shards and of files, each with its path."""
    for data in inputs:
        if isinstance(data, ShardSet):
            paths = iter(data.index["path"].to_pylist())
            yield from ((next(paths), spectrum) for batch in in_order(data, batch_size=_BATCH) for spectrum in batch)
        else:
            yield from ((str(path), result) for path, result in read_each(data))


def _plot_name(spectrum: Spectrum, names: Counter[str]) -> str:
    """The name of a spectrum's plot. `names` counts those before it; a number tells spectra of one name apart."""
    name = spectrum.name if spectrum.survey else spectrum.id
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("-")[:_LONGEST_NAME] or "spectrum"
    names[name] += 1
    return name if names[name] == 1 else f"{name}-{names[name]}"


def explain_files(run: Path, paths: Sequence[str], out: Path) -> tuple[int, list[ReadError]]:
    """Plot the attribution of the predictions for each spectrum, and list what could not be read or explained.

    Parameters
    ----------
    run : Path
        A run folder.
    paths : sequence of str
        Survey files, folders of survey files, catalogues of files with a column `path`, or folders of shards.
    out : Path
        The folder for the plots and for unreadable.csv.

    Returns
    -------
    int, list of ReadError
        The number of spectra explained, and the files and spectra that could not be, with reasons.

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError, CatalogError, ShardError
        If an input does not exist or cannot be read, or `out` cannot be written.
    """
    check_folder(out)
    check_writable(out / UNREADABLE)  # before the work, not after it
    predictor = Predictor.load(run)
    inputs = open_inputs(paths)
    rejected: list[ReadError] = []
    drawn, names = 0, Counter[str]()
    for path, result in track(_spectra(inputs), "explaining", total=sum(map(len, inputs))):
        if isinstance(result, ReadError):
            rejected.append(result)
        elif not (result.ivar > 0).any():
            rejected.append(ReadError(path, "no good pixel"))
        else:
            name = _plot_name(result, names)
            try:
                with atomic(out / f"{name}.png") as part:
                    draw(predictor, result, part)
                drawn += 1
            except SpectromerError:
                raise
            except Exception as error:  # a model may raise anything
                rejected.append(ReadError(path, f"it cannot be explained ({type(error).__name__}: {error})"))
    write_rejected(rejected, out / UNREADABLE)
    return drawn, rejected
