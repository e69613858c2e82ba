"""Draw the gallery of styles and options, one picture of the same quasar for each."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from spectromer import SpectrumBatch, render
from spectromer.surveys.simulated import simulate

__all__ = ["ENTRIES", "draw"]

#: The name of each picture, its options of `render`, and what it shows.
ENTRIES: dict[str, tuple[dict[str, Any], str]] = {
    "plot": ({"style": "plot"}, "One line plot over a fixed range of wavelengths."),
    "panels": ({"style": "panels", "panels": 7}, "The range is cut into panels, one above the other."),
    "panels-own": ({"style": "panels", "panels": 7, "per_panel": True}, "Each panel has a range of fluxes of its own."),
    "overlap": ({"style": "overlap"}, "The pieces of the spectrum are drawn over one another in three channels."),
    "folded": ({"style": "folded"}, "The spectrum is folded into rows of squares, whose brightness is the flux."),
    "strips": ({"style": "strips", "panels": 14}, "What models read: lines, continuum and S/N as channels."),
    "thesis-plot": ({"style": "thesis-plot"}, "The picture of the thesis: a line plot over the spectrum's own range."),
    "thesis-map": ({"style": "thesis-map"}, "The thesis's folded map."),
    "error": ({"style": "plot", "channels": ("flux", "error", "mask")}, "Flux, its error and the mask as channels."),
    "derivatives": ({"style": "plot", "channels": ("flux", "first", "second")}, "Flux and its first two derivatives."),
    "lines": ({"style": "plot", "channels": ("flux", "regions"), "regions": "lines"}, "Detected lines as a channel."),
    "light": ({"style": "plot", "ground": "light"}, "Dark lines on a light ground."),
    "wide": ({"style": "plot", "linewidth": 4.0}, "Lines 4 px wide."),
    "agg": ({"style": "plot", "coverage": "agg"}, "Drawn like matplotlib, to within 4 levels of 255."),
}  # fmt: skip


def draw(folder: Path) -> None:
    """Draw the pictures, and the page `gallery.md` beside the folder `_static`."""
    folder.mkdir(parents=True, exist_ok=True)
    bright = (s for s in simulate(400, seed=1, surveys=("SDSS",)) if s.labels["snr"] > 15)
    batch = SpectrumBatch.from_spectra([next(s for s in bright if s.labels["class"] == "QSO")])
    lines = [
        "# Gallery\n",
        "The pictures show one simulated quasar, with these options of {func}`spectromer.render`.\n",
    ]
    for name, (options, text) in ENTRIES.items():
        image = render(batch, **options)[0].numpy()
        shown = image if len(image) == 3 else np.repeat(image.max(0, keepdims=True), 3, 0)
        figure = Figure(figsize=(2.24, 2.24), dpi=100)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.imshow(shown.transpose(1, 2, 0), interpolation="nearest")
        axes.set_axis_off()
        figure.savefig(folder / f"{name}.png")
        call = ", ".join(f"{key}={value!r}" for key, value in options.items())
        lines += [f"## {name}\n", f"```python\nspectromer.render(batch, {call})\n```\n", f"{text}\n"]
        lines += [f"![{text}](_static/gallery/{name}.png)\n"]
    (folder.parents[1] / "gallery.md").write_text("\n".join(lines))
