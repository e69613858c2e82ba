"""Baselines on the same spectra as a run: Random Forest, support vector machine and a 1-D transformer."""

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from rich.progress import track
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from spectromer.config import SPECFORMER, BaselineConfig, DataConfig, TrainConfig
from spectromer.errors import ArgumentError
from spectromer.files import check_folder
from spectromer.labels import CATEGORIES
from spectromer.learning.evaluation import evaluate_table
from spectromer.learning.heads import known_mask
from spectromer.learning.specformer import SpectrumToSequence
from spectromer.learning.targets import Targets
from spectromer.learning.training import train
from spectromer.runs import RunFolder
from spectromer.shards.batches import in_order
from spectromer.shards.sources import Division, divide
from spectromer.shards.splits import subsample
from spectromer.shards.store import ShardSet

__all__ = ["baselines"]

_BATCH = 256


def _forest(name: str, most: int) -> tuple[Any, dict[str, list[Any]]]:
    """Random Forest on the bins or on principal components, `most` at most, and the grid of options to search."""
    options = {"n_estimators": 200, "n_jobs": -1, "random_state": 0}
    pca = PCA(min(64, most), random_state=0)
    if name in CATEGORIES:
        model = RandomForestClassifier(max_features="sqrt", **options)
        grid: dict[str, list[Any]] = {"pca": ["passthrough", pca], "model__min_samples_leaf": [1, 3]}
    else:
        model = _of_target(name, RandomForestRegressor(min_samples_leaf=2, **options))
        grid = {"model__regressor__max_features": ["sqrt", 0.33]}
    return Pipeline([("pca", pca), ("model", model)]), grid


def _svm(name: str, most: int) -> tuple[Any, dict[str, list[Any]]]:
    """Support vector machine with a radial kernel on principal components, and the grid of options to search."""
    if name in CATEGORIES:
        model, prefix, costs = SVC(class_weight="balanced"), "model__", [1.0, 10.0, 100.0]
    else:
        model, prefix, costs = _of_target(name, SVR(epsilon=0.01)), "model__regressor__", [1.0, 10.0]
    components = [count for count in (64, 200) if count <= most] or [most]
    steps = [("pca", PCA(random_state=0)), ("scale", StandardScaler(with_std=False)), ("model", model)]
    return Pipeline(steps), {"pca__n_components": components, f"{prefix}C": costs}


def _of_target(name: str, regressor: Any) -> TransformedTargetRegressor:
    """Wrap a regressor so that it learns ln(1 + z), or the standardised value of any other target."""
    if name == "z":
        return TransformedTargetRegressor(regressor, func=np.log1p, inverse_func=np.expm1, check_inverse=False)
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


def _sequences(transform: SpectrumToSequence, shards: ShardSet, rows: np.ndarray, title: str) -> np.ndarray:
    """Standardise the spectra at `rows` on the common grid, [B, bins] float32."""
    batches = track(in_order(shards, rows, _BATCH), title, total=-(-len(rows) // _BATCH))
    return np.concatenate([transform(batch).numpy() for batch in batches])


def _classical(
    make: Any, division: Division, targets: Targets, max_train: int, spectra: dict[str, np.ndarray], folder: Path
) -> dict[str, Any]:
    """Fit one model per target, with options chosen on the validation split, and evaluate it on the test split.

    The final fit uses the training and validation splits.
    """
    shards, rows = division.shards, {name: subsample(indices, max_train) for name, indices in division.rows.items()}
    rows["test"] = division.rows["test"]
    encoded = targets.encode(shards.believed)
    names = shards.names(rows["test"])
    table = Table({"id": names[0], "survey": names[1]})
    chosen: dict[str, Any] = {}
    started = time.time()
    for name in targets.names:
        fitted = np.concatenate([rows["train"], rows["val"]])
        known = known_mask(encoded[name][fitted]).numpy()
        if name in CATEGORIES:  # a classifier cannot learn from a spectral type alone
            known &= encoded[name][fitted].numpy() < len(targets.vocabulary[name])
        held_out = np.where(np.arange(len(fitted)) < len(rows["train"]), -1, 0)[known]
        x, y = np.concatenate([spectra["train"], spectra["val"]])[known], encoded[name][fitted].numpy()[known]
        pipeline, grid = make(name, max(1, min(len(x) // 2, x.shape[1]) - 1))
        scoring = "f1_macro" if name in CATEGORIES else "neg_median_absolute_error"
        try:
            search = GridSearchCV(pipeline, grid, scoring=scoring, cv=PredefinedSplit(held_out)).fit(x, y)
        except ValueError as error:  # too few spectra, or all of one class
            reason = f"{error}".splitlines()[-1].strip()
            raise ArgumentError(
                f"--max-train {max_train}: {folder.name} cannot learn {name} from {int((held_out < 0).sum())} training "
                f"spectra ({reason})"
            ) from error
        chosen[name] = {key: str(value) for key, value in search.best_params_.items()}
        predicted = search.predict(spectra["test"])
        if name in CATEGORIES:
            _add_category(table, name, targets, search, spectra["test"], predicted)
        else:
            table[name] = predicted
    table["warning"] = [""] * len(table)
    run = RunFolder(folder)
    run.create()
    metrics = {
        "test": evaluate_table(table, shards, rows["test"], targets, run),
        "training": {"chosen": chosen, "seconds": round(time.time() - started, 1)},
    }
    run.write_metrics(metrics)
    return metrics["test"]


def _add_category(
    table: Table, name: str, targets: Targets, search: Any, spectra: np.ndarray, predicted: np.ndarray
) -> None:
    """Add a predicted category, the spectral type that follows from a subclass, and probabilities if there are any."""
    p = None
    if hasattr(search, "predict_proba"):
        p = np.zeros((len(spectra), len(targets.vocabulary[name])))
        p[:, search.classes_] = search.predict_proba(spectra)
    if name == "subclass":
        best = targets.members[:, predicted].argmax(0)
        if p is not None:  # as in Predictor: the most probable type, and the most probable subclass of this type
            sums = targets.sum_types(p)
            best = sums.argmax(1)
            predicted = np.where(targets.members[best], p, -1.0).argmax(1)
            table["spectral_type_prob"] = sums.max(1)
        table["spectral_type"] = np.array(targets.spectral_types)[best]
    table[name] = np.array(targets.vocabulary[name])[predicted]
    if p is not None:
        table[f"{name}_prob"] = p[np.arange(len(p)), predicted]


def baselines(config: BaselineConfig) -> list[tuple[str, dict[str, Any]]]:
    """Train all methods, and evaluate them on the test split.

    Parameters
    ----------
    config : BaselineConfig
        Options of the comparison.

    Returns
    -------
    list of (str, dict)
        Name and result of `evaluate_predictions` of the run, if there is one, and of each method.

    Raises
    ------
    ArgumentError
        If a folder of a method exists already, or the data or targets are unsuitable.
    RunError
        If the run is not finished.
    """
    results: list[tuple[str, dict[str, Any]]] = []
    run_config, out = TrainConfig(), config.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S-baselines")
    if config.run is not None:
        run = RunFolder(config.run)
        run_config, out = run.read_config(), config.out or config.run / "baselines"
        results.append((config.run.name, run.read_metrics()["test"]))
        config = replace(config, **{field.name: getattr(run_config, field.name) for field in fields(DataConfig)})
    existing = [method for method in config.methods if (out / method).exists()]
    if existing:
        raise ArgumentError(f"--out {out} already holds {', '.join(existing)}")
    check_folder(out)  # before the work, not after it
    division = divide(config)
    targets = Targets.fit(config.targets, division.shards.believed.take(division.rows["train"]))
    spectra: dict[str, np.ndarray] = {}
    for method in config.methods:
        print(f"{method}:")
        if method.startswith(SPECFORMER):
            train_config = TrainConfig(
                **{field.name: getattr(config, field.name) for field in fields(DataConfig)},
                model=SPECFORMER,
                redshift_head="correlation" if method.endswith("correlation") else "pooled",
                batch_size=run_config.batch_size,
                epochs=config.epochs or run_config.epochs,
                out=out / method,
            )
            results.append((method, train(train_config, division=division)["test"]))
            continue
        if not spectra:
            transform = SpectrumToSequence()
            for name, rows in division.rows.items():
                rows = rows if name == "test" else subsample(rows, config.max_train)
                spectra[name] = _sequences(transform, division.shards, rows, f"resampling ({name})")
        make = {"forest": _forest, "svm": _svm}[method]
        results.append((method, _classical(make, division, targets, config.max_train, spectra, out / method)))
    return results
