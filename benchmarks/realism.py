"""How well a classifier tells simulated from real spectra, and at which wavelengths.

`python benchmarks/realism.py --data ../shared/data` draws simulated spectra that match the real ones in class, survey
and S/N, and as well in spectral type (stars) or redshift (galaxies, quasars), as the mixture of a small collection of
real spectra is no property of the telescope. Two classifiers then learn on four fifths of the objects, and are judged
on the last fifth, in turn. An area under the ROC curve (AUC) of 0.5 means that they cannot tell, and 1 that they always
can. Both are judged on coarse bins of the flux, on the fine structure that remains after division by a continuum, on
both, on both again in the object's rest frame, and on the errors and masks. The better classifier counts. The spectra
of LAMOST DR13 Q1 are left out, as are sky fibres and dead fibres.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import median_filter
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import spectromer
from spectromer import Spectrum
from spectromer.subclasses import LETTERS, canonical_subclass, spectral_type
from spectromer.surveys.reading import read_each
from spectromer.surveys.simulated import simulate

EDGES = 10.0 ** np.linspace(np.log10(3900.0), np.log10(9000.0), 49)  # coarse bins, of 1.7 %
PARTS = 12  # fine bins of a coarse one, of 0.14 % or 420 km/s
CENTRES = np.sqrt(EDGES[1:] * EDGES[:-1])
FINE = 10.0 ** (np.log10(EDGES[0]) + (np.arange(48 * PARTS) + 0.5) * np.diff(np.log10(EDGES))[0] / PARTS)
REGION = 4  # coarse bins of a region whose importance is measured
CONTINUUM = 51  # fine bins of the running median that is the continuum
FEWEST = 15


@dataclass(frozen=True)
class Options:
    """Tell simulated from real spectra."""

    data: Path = Path("../shared/data")
    """A folder with catalog.csv and the files that it names."""
    pool: int = 6144
    """Number of simulated spectra of each survey from which the matching ones are drawn."""
    most: int = 500
    """Largest number of real spectra of each class."""
    each: int = 6
    """Largest number of simulated spectra for each real one. Fewer are drawn where there are many real ones."""
    seed: int = 0


def read_real(folder: Path, most: int, rng: np.random.Generator) -> tuple[list[Spectrum], list[str]]:
    """Real spectra with their catalogue's labels, at most `most` of each class, and their objects."""
    with (folder / "catalog.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] in ("STAR", "GALAXY", "QSO")]
    rows = [row for row in rows if "DR13" not in row["release"] and row["sourcetype"] != "SKY"]
    rng.shuffle(rows)
    spectra, objects, count = [], [], dict.fromkeys(("STAR", "GALAXY", "QSO"), 0)
    for row in track(rows, "reading"):
        if count[row["class"]] >= most:
            continue
        spectrum = next(read_each([folder / row["path"]]))[1]
        if not isinstance(spectrum, Spectrum) or spectrum.survey not in ("SDSS", "LAMOST") or not covers(spectrum):
            continue
        spectrum.labels.update({"class": row["class"], "subclass": row["subclass"], "z": float(row["z"])})
        count[row["class"]] += 1
        spectra.append(spectrum)
        objects.append(row["object_group"])
    return spectra, objects


def covers(spectrum: Spectrum) -> bool:
    """Tell whether a spectrum has good pixels from one end of the common grid to the other."""
    good = spectrum.wavelength[spectrum.ivar > 0]
    return len(good) > 1500 and float(good[0]) < EDGES[0] * 1.01 and float(good[-1]) > EDGES[-1] * 0.99


def place(spectrum: Spectrum) -> np.ndarray:
    """Coordinates in which matching spectra lie close: ln S/N, and spectral type or ln(1 + z)."""
    labels = spectrum.labels
    snr = np.log(max(spectrum.snr, 0.5))
    if labels["class"] == "STAR":
        kind = spectral_type(canonical_subclass(str(labels["subclass"])) or "")
        digit = next((int(c) for c in str(labels["subclass"]) if c.isdigit()), 5)
        on_scale = kind in tuple(LETTERS)
        step = 3.0 * (LETTERS.index(kind) + digit / 10.0) if on_scale else 100.0 + 10.0 * sum(kind.encode())
        return np.array([snr, step])
    return np.array([snr, 20.0 * np.log1p(labels["z"])])


def match(real: list[Spectrum], pool: list[Spectrum], each: int) -> list[int]:
    """The simulated spectra, `each` for every real one, that lie closest to the real ones, without repetition."""
    kind = [(s.labels["class"], s.survey) for s in pool]
    places = np.array([place(s) for s in pool])
    chosen: list[int] = []
    for name in sorted({(s.labels["class"], s.survey) for s in real}):
        at = np.array([place(s) for s in real if (s.labels["class"], s.survey) == name])
        own = np.array([i for i, k in enumerate(kind) if k == name])
        times = max(1, min(each, len(own) // len(at)))
        distance = ((np.repeat(at, times, 0)[:, None] - places[own]) ** 2).sum(2)
        chosen += own[linear_sum_assignment(distance)[1]].tolist()
    return chosen


def features(spectra: list[Spectrum], rest: bool = False) -> dict[str, np.ndarray]:
    """Vectors [B, F] of each set of features, on the common grid, or on one in the middle object's rest frame.

    Bins of the rest frame that a spectrum does not reach hold its nearest flux. Spectra that match have the same ones.
    """
    moved = spectra
    if rest:
        z = np.array([s.labels["z"] if s.labels["z"] > -0.5 else 0.0 for s in spectra])  # LAMOST has -9999
        stretch = torch.from_numpy((1.0 + np.median(z)) / (1.0 + z))[:, None]
        moved = [replace(s, wavelength=s.wavelength * float(k)) for s, k in zip(spectra, stretch, strict=True)]
    flux, ivar = (t.double() for t in spectromer.resample(moved, torch.from_numpy(FINE)))
    f, v = flux.numpy(), ivar.numpy()
    good = v > 0
    some = [g if g.any() else ~g for g in good]  # a spectrum that ends before the common grid is 0
    filled = np.array([np.interp(FINE, FINE[g], row[g]) for row, g in zip(f, some, strict=True)])
    filled /= np.maximum(np.median(np.abs(filled), 1, keepdims=True), 1e-30)
    coarse = filled.reshape(len(f), -1, PARTS).mean(2)
    continuum = median_filter(filled, (1, CONTINUUM), mode="nearest")
    ratio = filled / np.maximum(continuum, 0.1) - 1.0
    error = np.where(good, 1.0 / np.sqrt(np.where(good, v, 1.0)), np.nan).reshape(len(f), -1, PARTS)
    level = np.nanmedian(error, (1, 2), keepdims=True)
    errors = np.log(np.nanmedian(np.where(np.isnan(error).all(2, keepdims=True), level, error) / level, 2))
    masked = 1.0 - good.reshape(len(f), -1, PARTS).mean(2)
    return {
        "coarse": np.clip(coarse, -2.0, 6.0),
        "fine": np.clip(ratio, -1.5, 3.0),
        "errors": np.hstack([np.clip(errors, -4.0, 4.0), masked]),
    }


def classifiers(columns: int, rows: int, seed: int) -> dict[str, Any]:
    """A linear classifier of principal components, and a forest of all columns."""
    pca = PCA(min(40, rows // 4, columns), svd_solver="randomized", random_state=seed)
    return {
        "linear": make_pipeline(StandardScaler(), pca, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)),
        "forest": make_pipeline(ExtraTreesClassifier(300, min_samples_leaf=2, random_state=seed)),
    }


def judge(
    sets: dict[str, np.ndarray], real: np.ndarray, groups: np.ndarray, seed: int, regions: bool = False
) -> tuple[dict[str, float], np.ndarray]:
    """The AUC of each classifier, and the loss of the forest's AUC when a wavelength region is shuffled."""
    x = np.hstack(list(sets.values()))
    column = np.concatenate([np.arange(v.shape[1]) * 48 // v.shape[1] // REGION for v in sets.values()])
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    scores = {name: np.zeros(len(x)) for name in ("linear", "forest")}
    loss = np.zeros((48 // REGION, 5))
    rng = np.random.default_rng(seed)
    for fold, (train, test) in enumerate(folds.split(x, real, groups)):
        made = classifiers(x.shape[1], len(train), seed)
        for name, model in made.items():
            weight = np.where(real[train], 1.0 / real[train].sum(), 1.0 / (~real[train]).sum()) * len(train) / 2.0
            model.fit(x[train], real[train], **{f"{model.steps[-1][0]}__sample_weight": weight})
            scores[name][test] = model.predict_proba(x[test])[:, 1]
        base = roc_auc_score(real[test], scores["forest"][test])
        for region in range(len(loss)) if regions else ():
            shuffled = x[test].copy()
            shuffled[:, column == region] = shuffled[rng.permutation(len(test))][:, column == region]
            loss[region, fold] = base - roc_auc_score(real[test], made["forest"].predict_proba(shuffled)[:, 1])
    return {name: float(roc_auc_score(real, score)) for name, score in scores.items()}, loss.mean(1)


def auc_error(auc: float, real: int, simulated: int) -> float:
    """Standard error of an AUC (Hanley & McNeil 1982, Radiology 143, 29)."""
    one, two = auc / (2.0 - auc), 2.0 * auc**2 / (1.0 + auc)
    spread = auc * (1.0 - auc) + (real - 1) * (one - auc**2) + (simulated - 1) * (two - auc**2)
    return float(np.sqrt(spread / (real * simulated)))


def main(options: Options) -> None:
    """Print the AUC by class, and the wavelengths that matter most."""
    rng = np.random.default_rng(options.seed)
    real, objects = read_real(options.data, options.most, rng)
    pool = [s for s in simulate(2 * options.pool, seed=options.seed + 1) if covers(s)]
    table = Table(
        "spectra", "real", "simulated", "coarse", "fine", "both", "both, rest frame", "errors, masks", "looks at (A)"
    )
    for name in ("STAR", "GALAXY", "QSO"):
        for low, high in ((0.0, np.inf), (0.0, 20.0), (20.0, 60.0), (60.0, np.inf)):
            own = [i for i, s in enumerate(real) if s.labels["class"] == name and low <= s.snr < high]
            if len(own) < FEWEST or (low > 0 and name != "STAR"):
                continue
            spectra = [real[i] for i in own]
            twins = [pool[i] for i in match(spectra, pool, options.each)]
            is_real = np.arange(len(spectra) + len(twins)) < len(spectra)
            groups = np.unique(
                [*(objects[i] for i in own), *(f"simulated {i}" for i in range(len(twins)))], False, True
            )[1]
            found = features(spectra + twins)
            both = {k: found[k] for k in ("coarse", "fine")}
            cells = []
            rest = {k: v for k, v in features(spectra + twins, rest=True).items() if k in both}
            for sets in ({"coarse": found["coarse"]}, {"fine": found["fine"]}, both, rest, {"errors": found["errors"]}):
                aucs, loss = judge(sets, is_real, groups, options.seed, sets is both)
                best = max(aucs.values())
                cells.append(f"{best:.3f} ± {auc_error(best, len(spectra), len(twins)):.3f}")
                if sets is both:
                    order = np.argsort(-loss)[:4]
                    looks = ", ".join(f"{EDGES[REGION * i]:.0f} ({loss[i]:.3f})" for i in order)
            label = name if np.isinf(high) and low == 0 else f"{name}, S/N {low:.0f} to {high:.0f}"
            table.add_row(label, str(len(spectra)), str(len(twins)), *cells, looks)
    Console(width=180).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
