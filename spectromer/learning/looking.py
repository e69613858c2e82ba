"""Plots of a spectrum with the answer of a model, and of the picture that the model read."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from spectromer.errors import ReadError, SpectromerError
from spectromer.files import atomic, check_folder, check_writable, write_rejected
from spectromer.labels import CATEGORIES, SCALARS
from spectromer.learning.plots import STYLE
from spectromer.learning.predictor import Predictor
from spectromer.shards.sources import open_inputs, read_inputs
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.words import file_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LINES", "UNREADABLE", "answer", "draw_files", "observed_lines", "plot", "show_files"]

UNREADABLE = "unreadable.csv"
Draw = Callable[[Predictor, Spectrum, Path], None]
_SHOWN = (0.5, 99.5)  # percentiles of the flux that the plot certainly shows
_ERROR, _MASKED, _LINE = "#9ecae1", "#d9d9d9", "#8c510a"

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


def answer(row: Any) -> str:
    """The answer of a model in words, given a row of `Predictor.predict`."""
    columns = row.colnames
    words = [f"{row[name]} ({row[f'{name}_prob']:.2f})" for name in CATEGORIES if name in columns and row[name]]
    if "z" in columns:
        words.append(f"z = {row['z']:.5f} ± {row['z_err']:.5f} (z_flag {int(row['z_flag'])})")
    names = {"teff": ("Teff", "K", 0), "logg": ("log g", "", 2), "feh": ("[Fe/H]", "", 2)}
    star = "class" not in columns or row["class"] == "STAR"
    for name in SCALARS:
        if name in columns and star:
            word, unit, digits = names[name]
            words.append(f"{word} = {row[name]:.{digits}f} ± {row[f'{name}_err']:.{digits}f} {unit}".rstrip())
    words += ["unknown"] if "unknown" in columns and row["unknown"] else []
    return ", ".join([*words, *([row["warning"]] if "warning" in columns and row["warning"] else [])])


def plot(spectrum: Spectrum, prediction: Any = None, ax: "Axes | None" = None) -> "Axes":
    """Plot a spectrum with its errors and masks and, with a prediction, the lines of its class at its redshift.

    Parameters
    ----------
    spectrum : Spectrum
        The spectrum. Masked pixels are gaps in the line and are shaded.
    prediction : row of an astropy Table, optional
        The prediction, such as `Predictor.load().predict(spectrum)[0]`. It is written into the title.
    ax : matplotlib Axes, optional
        The axes to draw on. By default, they are those of a new pyplot figure.

    Returns
    -------
    matplotlib Axes
        The axes.
    """
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(10.0, 3.2))[1]
    flux, ivar, wavelength = (
        values.detach().cpu().double().numpy() for values in (spectrum.flux, spectrum.ivar, spectrum.wavelength)
    )
    good = ivar > 0
    ax.set(xlabel="vacuum wavelength (Å)", ylabel="flux density")
    if good.any():
        sigma = np.where(good, 1.0 / np.sqrt(np.where(good, ivar, 1.0)), np.nan)
        shown = np.where(good, flux, np.nan)
        ax.fill_between(wavelength, shown - sigma, shown + sigma, color=_ERROR, lw=0, label="error")
        ax.plot(wavelength, shown, lw=0.6, color="k", label="flux")
        low, high = np.percentile(flux[good], _SHOWN)
        margin = 0.15 * (high - low) or 1.0
        inside = np.flatnonzero(good)
        ax.set(xlim=(wavelength[inside[0]], wavelength[inside[-1]]), ylim=(low - margin, high + 2 * margin))
        for begin, end in _runs(~good[inside[0] : inside[-1] + 1]):
            ax.axvspan(wavelength[inside[0] + begin], wavelength[inside[0] + end - 1], color=_MASKED, lw=0, zorder=0)
    title = f"{spectrum.survey} {spectrum.id}".strip()
    if prediction is not None:
        title = ": ".join(filter(None, [title, answer(prediction)]))
        _mark_lines(ax, observed_lines(prediction))
    ax.set_title(title, fontsize=9)
    return ax


def _runs(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """The begin and the end of each run of True."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(int)))
    yield from zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)


def observed_lines(prediction: Any) -> dict[str, float]:
    """The observed wavelengths of the spectral lines of the predicted class, given a row of `Predictor.predict`."""
    columns = prediction.colnames
    kind = str(prediction["class"]) if "class" in columns else ""
    z = float(prediction["z"]) if "z" in columns else 0.0
    return {name: rest * (1.0 + z) for name, rest in LINES.get(kind, {}).items()}


def _mark_lines(ax: "Axes", lines: dict[str, float]) -> None:
    """Mark spectral lines at their observed wavelengths, with their names."""
    low, high = ax.get_xlim()
    for name, at in lines.items():
        if np.isfinite(at) and low < at < high:
            ax.axvline(at, color=_LINE, lw=0.5, ls=":", zorder=0)
            ax.text(at, 0.98, name, transform=ax.get_xaxis_transform(), fontsize=7, rotation=90, va="top", ha="right")


def _show(predictor: Predictor, spectrum: Spectrum, path: Path) -> None:
    """Plot a spectrum with its answer above the picture that the model read."""
    batch = SpectrumBatch.from_spectra([spectrum])
    row = predictor.predict(batch)[0]
    inputs = predictor.outputs(batch)[0][0].cpu().numpy()
    picture = predictor.design.picture
    with matplotlib.rc_context(STYLE):
        if picture is None:  # a sequence
            figure = Figure(figsize=(10.0, 3.2))
            plot(spectrum, row, figure.subplots())
        else:
            figure = Figure(figsize=(10.0, 6.4), layout="constrained")
            grid = figure.add_gridspec(2, len(inputs))
            plot(spectrum, row, figure.add_subplot(grid[0, :]))
            names = picture.channels if len(picture.channels) == len(inputs) else range(len(inputs))
            for i, (name, image) in enumerate(zip(names, inputs, strict=True)):
                axes = figure.add_subplot(grid[1, i])
                axes.imshow(image, cmap="gray", vmin=0, vmax=255)
                axes.set_title(f"read by the model: {name}", fontsize=8)
                axes.set_axis_off()
        figure.savefig(path, bbox_inches="tight", format="png")


def show_files(model: str | None, paths: Sequence[str], out: Path) -> tuple[int, list[ReadError]]:
    """Plot each spectrum with its answer and the picture that the model read. See `draw_files` for the arguments."""
    return draw_files(model, paths, out, _show, "plotting")


def draw_files(
    model: str | os.PathLike[str] | None, paths: Sequence[str], out: Path, draw: Draw, title: str
) -> tuple[int, list[ReadError]]:
    """Plot each spectrum, and list what could not be read or plotted.

    Parameters
    ----------
    model : str or path-like, optional
        The model, as in `Predictor.load`.
    paths : sequence of str
        Survey files, folders of survey files, catalogues of files with a column `path`, or folders of shards.
    out : Path
        The folder for the plots and for unreadable.csv.
    draw : callable
        A function that is called with the predictor, a spectrum and the path of its plot.
    title : str
        The label of the progress bar.

    Returns
    -------
    int, list of ReadError
        The number of plots, and the files and spectra without one, with reasons.

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError, CatalogError, ShardError
        If an input does not exist or cannot be read, or `out` cannot be written.
    """
    check_folder(out)
    check_writable(out / UNREADABLE)  # before the work, not after it
    predictor = Predictor.load(model)
    inputs = open_inputs(paths)
    rejected: list[ReadError] = []
    names: dict[str, int] = {}
    drawn = 0
    for path, spectrum in read_inputs(inputs, rejected, title):
        try:
            with atomic(out / f"{_plot_name(spectrum, names)}.png") as part:
                draw(predictor, spectrum, part)
            drawn += 1
        except SpectromerError:
            raise
        except Exception as error:  # a model may raise anything
            rejected.append(ReadError(path, f"it cannot be plotted ({type(error).__name__}: {error})"))
    write_rejected(rejected, out / UNREADABLE)
    return drawn, rejected


def _plot_name(spectrum: Spectrum, names: dict[str, int]) -> str:
    """The name of a spectrum's plot. `names` counts those before it; a number tells spectra of one name apart."""
    name = file_name(spectrum.name if spectrum.survey else spectrum.id) or "spectrum"
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}-{names[name]}"
