"""Make the templates of `spectromer.scan_redshift` from the simulated survey and, where given, from real spectra.

`python benchmarks/make_templates.py --real ../shared/data/catalog.csv` writes spectromer/templates/default.safetensors.
The templates of a class are the components of a weighted low-rank fit by expectation maximisation (EM-PCA, Bailey 2012,
PASP 124, 1015) to simulated spectra without noise, at rest, and to real spectra at the redshifts of their catalogue.
"""

import math
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from astropy.table import Table

from spectromer import Spectrum, SpectrumBatch, read, resample
from spectromer.surveys.simulated.draw import Draw
from spectromer.surveys.simulated.galaxies import draw_galaxies
from spectromer.surveys.simulated.quasars import draw_quasars
from spectromer.surveys.simulated.stars import draw_stars
from spectromer.templates import DEFAULT, TemplateSet, save

STEP = 1e-4
FOLDS = 5
TURN = 250  # simulated spectra at a time


@dataclass(frozen=True)
class Kind:
    """The ranges of wavelength at rest (Angstrom) and of redshift of one class, and its numbers of columns."""

    rest: tuple[float, float]
    z_range: tuple[float, float]
    count: int
    polynomials: int

    @property
    def first(self) -> int:
        """Index of the first bin."""
        return math.floor(math.log10(self.rest[0]) / STEP)

    @property
    def grid(self) -> np.ndarray:
        """Wavelengths of the bins."""
        return 10.0 ** (STEP * np.arange(self.first, math.ceil(math.log10(self.rest[1]) / STEP) + 1))


KINDS = {
    "STAR": Kind((3500.0, 10500.0), (-0.003, 0.003), 12, 0),
    "GALAXY": Kind((1650.0, 10500.0), (-0.002, 1.1), 10, 0),
    "QSO": Kind((600.0, 10000.0), (0.05, 5.0), 6, 4),
}


@dataclass(frozen=True)
class Options:
    """Make templates."""

    out: Path = DEFAULT
    real: Path | None = None
    """A catalogue with path, class, z, npix, sourcetype, zwarning and object_group. It lies beside the files."""
    exclude_fold: int | None = None
    """Leave out the real spectra of one fold of objects, 0 to 4, so that it can be evaluated."""
    simulated: int = 1500
    """Number of simulated spectra of each class."""
    iterations: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Real:
    """Real spectra with their catalogue's class, redshift and fold of objects."""

    spectra: list[Spectrum]
    kind: np.ndarray
    z: np.ndarray
    fold: np.ndarray
    path: np.ndarray


def fold_of(group: str) -> int:
    """The fold of an object, 0 to 4."""
    return zlib.crc32(group.encode()) % FOLDS


def read_real(catalog: Path, smallest: int = 3000) -> Real:
    """Read the full-length spectra of a catalogue whose redshifts are known. Sky fibres are left out."""
    table = Table.read(catalog, format="ascii.csv")
    found: list[tuple[Spectrum, str, float, int, str]] = []
    for row in table:
        kind, z = str(row["class"]), row["z"]
        if "DR13" in str(row["release"]):  # it may not be public
            continue
        if kind not in KINDS or np.ma.is_masked(z) or row["npix"] < smallest or str(row["sourcetype"]) == "SKY":
            continue
        if not (abs(z) < 0.003 if kind == "STAR" else z > 0):
            continue
        try:
            spectrum = read(catalog.parent / str(row["path"]))
        except ValueError as error:
            print(error, file=sys.stderr)
            continue
        found.append((spectrum, kind, float(z), fold_of(str(row["object_group"])), str(row["path"])))
    spectra, kinds, zs, folds, paths = zip(*found, strict=True)
    return Real(list(spectra), np.array(kinds), np.array(zs), np.array(folds), np.array(paths))


def simulated_at_rest(name: str, count: int, seed: int) -> np.ndarray:
    """Spectra [count, R] without noise on the grid of a class, float32, each with a root mean square of 1."""
    grid = torch.from_numpy(KINDS[name].grid).float()
    made = []
    for turn in range(-(-count // TURN)):

        def drawn(wave: torch.Tensor, turn: int = turn) -> tuple[torch.Tensor, list]:
            draw = Draw(seed, 77, list(KINDS).index(name), turn)
            if name == "STAR":
                return draw_stars(wave, draw, TURN)
            return draw_galaxies(wave, draw, TURN, 1.0) if name == "GALAXY" else draw_quasars(wave, draw, TURN)

        # The redshifts do not depend on the wavelengths, so that the second draw of the same seed is at rest.
        z = torch.tensor([row["z"] for row in drawn(grid.expand(TURN, -1))[1]])[:, None]
        flux, labels = drawn(grid * (1.0 + z))
        assert [row["z"] for row in labels] == z[:, 0].tolist() or np.allclose([row["z"] for row in labels], z[:, 0])
        made.append(flux.nan_to_num(0.0).clamp(min=0.0))
    flux = torch.cat(made)[:count]
    return (flux / flux.square().mean(1, keepdim=True).sqrt()).numpy()


def real_at_rest(name: str, spectra: list[Spectrum], z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flux and inverse variance [n, R] on the grid of a class."""
    grid = torch.from_numpy(KINDS[name].grid)
    flux, ivar = np.zeros((2, len(spectra), len(grid)), np.float32)
    for i, (spectrum, shift) in enumerate(zip(spectra, z, strict=True)):
        batch = SpectrumBatch.from_spectra([spectrum])
        wavelength = batch.wavelength / (1.0 + shift)
        f, v = resample(batch.flux, batch.ivar, wavelength, grid, coverage=0.5)
        flux[i], ivar[i] = f[0].numpy(), v[0].numpy()
    return flux, ivar


def weighted(flux: np.ndarray, ivar: np.ndarray, floor: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Real spectra with a root mean square of 1, and weights. An error of `floor` is added, so that none dominates."""
    good = ivar > 0
    count = np.maximum(good.sum(1, keepdims=True), 1)
    scale = np.sqrt(np.maximum((np.where(good, flux, 0.0) ** 2).sum(1, keepdims=True) / count, 1e-30))
    flux = flux / scale
    variance = 1.0 / np.where(good, ivar * scale**2, 1.0) + floor**2 * (1.0 + flux**2)
    return np.where(good, flux, 0.0), np.where(good, 1.0 / variance, 0.0)


def solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve systems [n, K, K] with a small ridge."""
    size = matrix.shape[-1]
    ridge = 1e-6 * np.trace(matrix, axis1=1, axis2=2)[:, None, None] / size + 1e-12
    return np.linalg.solve(matrix + ridge * np.eye(size), right[..., None])[..., 0]


def components(flux: np.ndarray, weights: np.ndarray, start: np.ndarray, iterations: int) -> np.ndarray:
    """The components [K, R] whose sums fit the spectra [n, R] best, by alternating weighted least squares."""
    found = start.astype(np.float64)
    count = len(found)
    pairs = np.triu_indices(count)
    index = np.zeros((count, count), int)
    index[pairs] = index[pairs[::-1]] = np.arange(len(pairs[0]))
    data = weights * flux
    for _ in range(iterations):
        inner = (weights @ (found[pairs[0]] * found[pairs[1]]).T.astype(np.float32))[:, index]
        c = solve(inner.astype(np.float64), data @ found.T.astype(np.float32))
        outer = (weights.T @ (c[:, pairs[0]] * c[:, pairs[1]]).astype(np.float32))[:, index]
        found = solve(outer.astype(np.float64), data.T @ c.astype(np.float32)).T
        found = np.linalg.qr(found.T)[0].T
    # Turned so that the first holds the most.
    inner = (weights @ (found[pairs[0]] * found[pairs[1]]).T.astype(np.float32))[:, index]
    c = solve(inner.astype(np.float64), data @ found.T.astype(np.float32))
    return np.linalg.svd(c, full_matrices=False)[2] @ found


def make(
    name: str, real: Real | None, used: np.ndarray, simulated: np.ndarray, iterations: int = 6, share: float = 0.3
) -> TemplateSet:
    """The templates of one class, from simulated spectra at rest and from the real spectra that are `used` [n] bool.

    `share` is the summed weight of the simulated spectra relative to that of the real ones.
    """
    kind = KINDS[name]
    count = kind.count
    flux, weights = simulated, np.full(simulated.shape, 1.0, np.float32)
    start = np.linalg.svd(simulated[: max(300, count)], full_matrices=False)[2][:count]
    if real is not None:
        rows = np.flatnonzero((real.kind == name) & used)
        observed, w = weighted(*real_at_rest(name, [real.spectra[i] for i in rows], real.z[rows]))
        w = w / np.percentile(w[w > 0], 90)
        weights = weights * (share * max(w.sum(), 1.0) / weights.sum())
        weights = np.maximum(weights, 1e-4)
        flux, weights = np.concatenate([flux, observed]), np.concatenate([weights, w])
    found = components(flux.astype(np.float32), weights.astype(np.float32), start, iterations)
    return TemplateSet(
        name, torch.from_numpy(np.ascontiguousarray(found)), kind.first, kind.z_range, STEP, kind.polynomials
    )


def write(sets: Sequence[TemplateSet], path: Path, command: str, simulated: int, real: int) -> None:
    """Write templates with their licence and their origin."""
    about = {
        "licence": "MIT, as the package. They are averages; no spectrum can be recovered from them.",
        "origin": f"{simulated} simulated spectra of each class, and {real} real spectra of SDSS and LAMOST",
        "command": command,
    }
    save(sets, path, about=about)


def main(options: Options) -> None:
    """Make the templates of all classes and write them."""
    real = None if options.real is None else read_real(options.real)
    kept = np.zeros(0, bool) if real is None else real.fold != options.exclude_fold
    sets = []
    for name, kind in KINDS.items():
        simulated = simulated_at_rest(name, options.simulated, options.seed)
        sets.append(make(name, real, kept, simulated, options.iterations))
        print(f"{name}: {kind.count} templates, {options.simulated} simulated spectra")
    command = "python benchmarks/make_templates.py" + ("" if real is None else " --real CATALOG")
    write(sets, options.out, command, options.simulated, int(kept.sum()))
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(tyro.cli(Options))
