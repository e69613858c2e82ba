"""Spectra as HTML and SVG, for notebooks and pages. Numbers and escaped names are all that they hold."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["chart", "html_table", "sparkline"]

_NOTHING = "<em>no good pixel</em>"
_SMALL, _LARGE = (480, 80), (900, 260)  # width and height of the spectrum in a sparkline and in a chart
_STROKE = 2  # width of the strokes of a sparkline
_ABOVE, _BELOW = 40, 40  # space above and below the spectrum in a chart
_TICKS = 500  # Angstrom
_LINE = "#8c510a"


def sparkline(flux: np.ndarray, good: np.ndarray, wavelength: np.ndarray) -> str:
    """A small SVG image of a spectrum [N], in which gaps are masked pixels."""
    place = np.flatnonzero(good & np.isfinite(flux))
    if not len(place):
        return _NOTHING
    width, height = _SMALL
    path = _strokes(place * width / len(flux), flux[place], height, _STROKE, 0.5)
    drawn = f'<path d="{path}" stroke="currentColor" stroke-width="{_STROKE}" fill="none"/>'
    return _svg(drawn, width, height, wavelength[place], f' width="{width}" height="{height}"')


def chart(flux: np.ndarray, good: np.ndarray, wavelength: np.ndarray, lines: Mapping[str, float]) -> str:
    """An SVG plot of a spectrum [N] with an axis, and with the names of lines at their observed wavelengths."""
    place = np.flatnonzero(good & np.isfinite(flux))
    if not len(place):
        return _NOTHING
    width, height = _LARGE
    first, last = float(wavelength[place[0]]), float(wavelength[place[-1]])

    def across(at: Any) -> Any:
        return (at - first) * width / max(last - first, 1e-9)

    path = _strokes(across(wavelength[place]), flux[place], height, 1, 0.3)
    drawn = [f'<path d="{path}" stroke="currentColor" fill="none"/>']
    for name, at in lines.items():
        if first < at < last:
            drawn.append(f'<path d="M{across(at):.1f} -6V{height}" stroke="{_LINE}" stroke-dasharray="2 3"/>')
            turned = f'transform="translate({across(at) + 4:.1f} -8) rotate(-90)"'
            drawn.append(f'<text {turned} font-size="11">{escape(name)}</text>')
    for tick in range(-int(-first // _TICKS) * _TICKS, int(last) + 1, _TICKS):
        drawn.append(f'<path d="M{across(tick):.1f} {height}v5" stroke="currentColor"/>')
        drawn.append(_label(across(tick), height + 18, str(tick)))
    drawn.append(_label(width / 2, height + 36, "vacuum wavelength (Å)"))
    return _svg("".join(drawn), width, height, wavelength[place], above=_ABOVE, below=_BELOW)


def _strokes(x: np.ndarray, flux: np.ndarray, height: int, step: int, cut: float) -> str:
    """An SVG path with the range of the fluxes in each column of `step` pixels, cut at percentiles."""
    low, high = np.percentile(flux, (cut, 100.0 - cut))
    y = np.clip((high - flux) * height / ((high - low) or 1.0), 0, height)
    column = (x / step).astype(int)
    begins = np.flatnonzero(np.diff(column, prepend=-1))
    tops, bottoms = np.minimum.reduceat(y, begins) - 0.5, np.maximum.reduceat(y, begins) + 0.5
    centres = (column[begins] + 0.5) * step
    return "".join(f"M{x:.1f} {a:.1f}V{b:.1f}" for x, a, b in zip(centres, tops, bottoms, strict=True))


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.0f}" font-size="12" text-anchor="middle">{escape(text)}</text>'


def _svg(
    drawn: str, width: int, height: int, wavelength: np.ndarray, size: str = "", above: int = 0, below: int = 0
) -> str:
    label = f"flux density from {wavelength[0]:.0f} to {wavelength[-1]:.0f} Å"
    box = f'viewBox="0 {-above} {width} {height + above + below}"'
    return f'<svg role="img" aria-label="{label}"{size} {box}>{drawn}</svg>'


def html_table(title: str, rows: Sequence[Mapping[str, Any]], more: int = 0, below: str = "") -> str:
    """A table of rows with the same keys, below a title. Cells are escaped; `below` is HTML.

    `more` is the number of rows that are left out.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    cells = ("".join(f"<td>{escape(_text(row.get(name, '')))}</td>" for name in names) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    rest = f"<p>and {more:,} more</p>" if more else ""
    return f"<p><b>{escape(title)}</b></p><table><tr>{head}</tr>{body}</table>{rest}{below}"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
