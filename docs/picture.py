"""Draw docs/spectra.png, which shows simulated spectra in several styles: `python docs/picture.py`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spectromer import SpectrumBatch, render
from spectromer.surveys.simulated import simulate

WANTED = (("STAR", "A"), ("STAR", "M"), ("GALAXY", ""), ("GALAXY", "STARBURST"), ("QSO", "BROADLINE"))
PANELS = {"panels": 14}
STYLES = {"plot": {}, "panels": PANELS, "overlap": {}, "folded": {}, "strips": PANELS, "thesis-plot": {}}


def main() -> None:
    """Select one bright spectrum of each kind, and draw it in every style."""
    spectra = [s for s in simulate(256, seed=1, surveys=("SDSS",)) if s.labels["snr"] > 12]
    chosen = [
        next(s for s in spectra if s.labels["class"] == kind and s.labels["subclass"].rstrip("0123456789") == subclass)
        for kind, subclass in WANTED
    ]
    batch = SpectrumBatch.from_spectra(chosen)
    figure = Figure(figsize=(2 * len(chosen), 2.1 * len(STYLES)), dpi=110)
    grid = figure.subplots(len(STYLES), len(chosen))
    for row, (style, options) in zip(grid, STYLES.items(), strict=True):
        for axes, spectrum, image in zip(row, chosen, render(batch, style=style, **options).numpy(), strict=True):
            picture = np.repeat(image, 3, 0) if len(image) == 1 else image
            axes.imshow(picture.transpose(1, 2, 0))
            axes.set(xticks=[], yticks=[])
            labels = spectrum.labels
            if style == "plot":
                axes.set_title(f"{labels['class']} {labels['subclass']}\nz = {labels['z']:.3f}", fontsize=8)
        row[0].set_ylabel(f'style="{style}"', fontsize=8)
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "spectra.png")


if __name__ == "__main__":
    main()
