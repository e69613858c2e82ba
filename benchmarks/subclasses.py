"""Subtypes of real stars: what the labels allow, what baselines reach, and how much to smooth the target.

`python benchmarks/subclasses.py --data ../shared/data/catalog.csv` prints

- how well the labels of repeated observations of an object agree;
- five-fold cross-validation over objects of a random forest, a support vector machine and a perceptron with
  `SubclassHead`, the last for several widths of its smoothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import tyro
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.svm import SVC

from spectromer.learning.heads import SubclassHead
from spectromer.learning.specformer import SpectrumToSequence
from spectromer.learning.targets import Targets
from spectromer.shards.batches import in_order
from spectromer.shards.sources import load
from spectromer.subclasses import is_subtype, scale_position

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Options:
    """Compare classifiers of subtypes."""

    data: Path
    """A catalogue of files, as `spectromer train` accepts it."""
    smoothing: tuple[float, ...] = (0.0, 0.4, 0.5, 0.6, 0.75, 1.0)
    """Widths of the smoothing of the perceptron's target."""
    folds: int = 5
    seed: int = 0


def agreement(places: np.ndarray, objects: np.ndarray, snr: np.ndarray) -> None:
    """Print how far apart the subtypes of one object are. Copies of one spectrum, of equal S/N, are left out."""
    pairs = [
        (i, j)
        for one in np.unique(objects)
        for i, j in combinations(np.flatnonzero(objects == one), 2)
        if not abs(snr[i] - snr[j]) < 0.05
    ]
    first, second = np.array(pairs).reshape(-1, 2).T
    apart = np.abs(places[first] - places[second])
    letters = np.mean(places[first] // 10 == places[second] // 10)
    within = ", ".join(f"within {limit}: {np.mean(apart <= limit):.3f}" for limit in (0, 1, 2))
    print(f"{len(pairs)} pairs of observations of one object: {within}; the same letter: {letters:.3f}")


def perceptron(vocabulary: list[str], smoothing: float, epochs: int = 60) -> Fit:
    """A perceptron with one hidden layer on 64 principal components, averaged over two seeds."""

    def fit(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        pca = PCA(64, random_state=0).fit(x)
        scale = pca.transform(x).std(0).max() / 4
        known, asked = (torch.tensor(pca.transform(part) / scale, dtype=torch.float32) for part in (x, new))
        found, labels = [], torch.tensor(y)
        for seed in range(2):
            torch.manual_seed(seed)
            hidden = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Dropout(0.2))
            head = SubclassHead(256, vocabulary, hidden=False, smoothing=smoothing)
            parameters = [*hidden.parameters(), *head.parameters()]
            optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.02)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
            for _ in range(epochs):
                for rows in torch.randperm(len(known)).split(64):
                    optimizer.zero_grad()
                    head.loss(head(hidden(known[rows])), labels[rows]).mean().backward()
                    optimizer.step()
                schedule.step()
            with torch.no_grad():
                found.append(head(hidden.eval()(asked)).softmax(1).double().numpy())
        return np.mean(found, 0)

    return fit


def forest(values: int) -> Fit:
    """A random forest on the bins."""

    def fit(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        model = RandomForestClassifier(300, max_features="sqrt", n_jobs=-1, random_state=0).fit(x, y)
        p = np.zeros((len(new), values))
        p[:, model.classes_] = model.predict_proba(new)
        return p

    return fit


def svm(values: int) -> Fit:
    """A support vector machine with a radial kernel on 64 principal components."""

    def fit(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        pca = PCA(64, random_state=0).fit(x)
        return np.eye(values)[SVC(C=10.0).fit(pca.transform(x), y).predict(pca.transform(new))]

    return fit


def main(options: Options) -> None:
    """Print the agreement of the labels, and the figures of each method."""
    shards = load(options.data)[0]
    believed = shards.believed
    rows = np.flatnonzero([is_subtype(name) for name in believed["subclass"]])
    names = believed["subclass"][rows].astype(str)
    places = np.array([scale_position(name) for name in names])
    objects = np.asarray(shards.index["object"])[rows]
    agreement(places, objects, np.array([row.get("snr", np.nan) for row in shards.labels(rows)]))
    transform = SpectrumToSequence()
    x = np.concatenate([transform(batch).numpy() for batch in in_order(shards, rows, 256)])
    vocabulary = sorted(set(names))
    targets = Targets(("subclass",), {"subclass": vocabulary})
    y = np.searchsorted(vocabulary, names)
    order = np.random.default_rng(options.seed).permutation(len(np.unique(objects)))
    fold = order[np.unique(objects, return_inverse=True)[1]] % options.folds
    methods = {"forest": forest(len(vocabulary)), "svm": svm(len(vocabulary))}
    methods |= {f"perceptron, smoothing {width}": perceptron(vocabulary, width) for width in options.smoothing}
    early = (places >= 20) & (places < 50)
    letters = np.array([name[0] for name in names])
    for method, fit in methods.items():
        p = np.zeros((len(y), len(vocabulary)))
        for k in range(options.folds):
            p[fold == k] = fit(x[fold != k], y[fold != k], x[fold == k])
        best = targets.sum_types(p).argmax(1)
        chosen = np.where(targets.members[best], p, -1.0).argmax(1)
        apart = np.abs(np.array([scale_position(value) for value in vocabulary])[chosen] - places)
        kinds = np.array(targets.spectral_types)[best]
        accuracy = np.mean((chosen == y)[early])
        print(
            f"{method:26} A0 to G9 {accuracy:.3f} ± {(accuracy * (1 - accuracy) / early.sum()) ** 0.5:.3f}, "
            f"all {np.mean(chosen == y):.3f}, macro F1 {f1_score(y, chosen, average='macro', zero_division=0):.3f}, "
            f"within 1 {np.mean(apart <= 1):.3f}, within 2 {np.mean(apart <= 2):.3f}, "
            f"-ln p {-np.log(p[np.arange(len(y)), y].clip(1e-9)).mean():.3f}; letters {np.mean(kinds == letters):.3f}, "
            f"macro F1 {f1_score(letters, kinds, average='macro', zero_division=0):.3f}"
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
