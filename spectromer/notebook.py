"""Spectra as HTML, which notebooks show in place of their text."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["html_table", "sparkline"]

_WIDTH, _HEIGHT = 480, 80  # pixels of a sparkline
_COLUMNS = 240


def sparkline(flux: np.ndarray, good: np.ndarray, wavelength: np.ndarray) -> str:
    """An SVG image of a spectrum: the range of the good fluxes [N] in each of 240 columns. Gaps are masked."""
    place = np.flatnonzero(good & np.isfinite(flux))
    if not len(place):
        return "<em>no good pixel</em>"
    low, high = np.percentile(flux[place], (0.5, 99.5))
    scale = _HEIGHT / ((high - low) or 1.0)
    column = place * _COLUMNS // len(flux)
    strokes = []
    for at in np.unique(column):
        part = np.clip((high - flux[place[column == at]]) * scale, 0, _HEIGHT)
        x = (at + 0.5) * _WIDTH / _COLUMNS
        strokes.append(f"M{x:.1f} {part.min() - 0.5:.1f}V{part.max() + 0.5:.1f}")
    first, last = wavelength[0], wavelength[-1]
    label = f"flux density from {first:.0f} to {last:.0f} Å"
    return (
        f'<svg role="img" aria-label="{label}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}"><path d="{"".join(strokes)}" stroke="currentColor" '
        f'stroke-width="{_WIDTH / _COLUMNS}" fill="none"/></svg>'
    )


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
