"""Redshifts of real spectra by `spectromer.scan_redshift`, with templates that never saw the object.

`python benchmarks/scan_real.py --real ../shared/data/catalog.csv` makes the templates of each of five folds of objects
without the real spectra of that fold, and scans these. It prints how many redshifts are catastrophically wrong (more
than 1000 km/s, for quasars 3000 km/s), their scatter, and what the flag costs: with the class known, and with the class
that has the least chi-square.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from make_templates import FOLDS, KINDS, Real, make, read_real, simulated_at_rest

from spectromer import SpectrumBatch, scan_redshift
from spectromer.grids import C_KMS

LIMITS = {"STAR": 1000.0, "GALAXY": 1000.0, "QSO": 3000.0}
CHUNK = 32


@dataclass(frozen=True)
class Options:
    """Evaluate the scan on real spectra."""

    real: Path
    simulated: int = 1500
    """Number of simulated spectra of each class for the templates."""
    iterations: int = 6
    polynomials: int | None = None
    """Replaces the number of polynomials of all classes."""
    stars: int = 400
    """Number of stars that are scanned, of all."""
    seed: int = 0


def scanned(options: Options, real: Real, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The redshifts [n, T] and chi-square of each class, flags and errors, of the spectra at `rows`."""
    simulated = {name: simulated_at_rest(name, options.simulated, options.seed) for name in KINDS}
    shape = (len(rows), len(KINDS))
    found = {name: np.full(shape, np.nan) for name in ("set_z", "set_chi2", "set_z_err")}
    found["flag"] = np.ones(len(rows), bool)
    for fold in range(FOLDS):
        sets = [make(name, real, real.fold != fold, simulated[name], options.iterations) for name in KINDS]
        inside = np.flatnonzero(real.fold[rows] == fold)
        for part in np.array_split(inside, max(1, len(inside) // CHUNK)):
            batch = SpectrumBatch.from_spectra([real.spectra[i] for i in rows[part]])
            scan = scan_redshift(batch, templates=sets, polynomials=options.polynomials)
            for name, values in found.items():
                values[part] = getattr(scan, name).numpy()
    return found


def main(options: Options) -> None:
    """Print the figures of each class."""
    real = read_real(options.real)
    alive = np.array([s.snr > 0 for s in real.spectra])
    stars = np.random.default_rng(options.seed).permutation(np.flatnonzero((real.kind == "STAR") & alive))
    rows = np.sort(np.concatenate([np.flatnonzero((real.kind != "STAR") & alive), stars[: options.stars]]))
    found = scanned(options, real, rows)
    names = np.array(list(KINDS))
    best = found["set_chi2"].argmin(1)
    kind, z = real.kind[rows], real.z[rows]
    for name, limit in LIMITS.items():
        mine = kind == name
        known = found["set_z"][:, list(KINDS).index(name)]
        chosen = found["set_z"][np.arange(len(rows)), best]
        print(f"{name}: {mine.sum()} spectra, class right for {(names[best[mine]] == name).sum()}")
        for how, answer in (("class known", known), ("class by chi-square", chosen)):
            error = (answer - z) / (1.0 + z)
            wrong = mine & ~(np.abs(error) * C_KMS <= limit)
            scatter = 1.4826 * np.median(np.abs(error[mine] - np.median(error[mine])))
            good = mine & ~wrong
            print(
                f"  {how}: {wrong.sum()} catastrophic ({(wrong & ~found['flag']).sum()} of them not flagged), "
                f"sigma_NMAD {scatter:.1e}, {found['flag'][good].sum()} of {good.sum()} good ones flagged"
            )
            for i in np.flatnonzero(wrong):
                path = real.path[rows[i]].split("/")[-1]
                print(f"    {path}: z {z[i]:.4f}, found {answer[i]:.4f} as {names[best[i]]}")
        pull = np.abs(known - z)[mine] / found["set_z_err"][mine, list(KINDS).index(name)]
        print(f"  68 % of |z - z_catalogue| lie within {np.nanpercentile(pull, 68):.1f} z_err")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options))
