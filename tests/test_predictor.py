"""A trained model answers with a row for each spectrum, whatever the batch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spectromer import Predictor, Spectrum, SpectrumBatch
from spectromer.errors import RunError
from spectromer.subclasses import is_subtype, spectral_type
from spectromer.surveys.simulated import simulate

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_a_subclass_belongs_to_its_class(run: Path) -> None:
    predictor = Predictor.load(run)
    table = predictor.predict_all(simulate(100, seed=2))
    for row in table:
        assert row["subclass"] == "" or row["subclass"] in predictor.model.targets.subclasses[row["class"]]


def test_letters_follow_from_subtypes(run: Path) -> None:
    """Their probabilities are sums, all sum to one, and the subclass is the best one of the letter."""
    predictor = Predictor.load(run)
    targets = predictor.model.targets
    table = predictor.predict_all(simulate(100, seed=2))
    values, types = targets.vocabulary["subclass"], targets.spectral_types
    assert sum(map(is_subtype, values)) > len(types)
    p = np.array([table[f"subclass_prob_{value}"] for value in values]).T
    sums = np.array([table[f"spectral_type_prob_{kind}"] for kind in types]).T
    known = np.isfinite(p).all(1)
    assert known.sum() > 50
    np.testing.assert_allclose(p[known].sum(1), 1.0)
    np.testing.assert_allclose(sums[known].sum(1), 1.0)
    np.testing.assert_allclose(sums, targets.sum_types(p))
    for i in np.flatnonzero(known):
        kind = table["spectral_type"][i]
        assert kind == types[sums[i].argmax()] and spectral_type(table["subclass"][i]) == kind
        assert table["spectral_type_prob"][i] == sums[i].max()
        inside = [p[i, k] for k, value in enumerate(values) if spectral_type(value) == kind]
        assert table["subclass_prob"][i] == max(inside)
    assert (np.asarray(table["spectral_type"])[~known] == "").all()


def test_prediction_does_not_depend_on_the_batch(run: Path) -> None:
    """It does not depend on labels either, which the model never sees."""
    predictor = Predictor.load(run)
    spectra = list(simulate(20, seed=2))
    whole = predictor.predict(SpectrumBatch.from_spectra(spectra))
    bare = [Spectrum(s.flux, s.ivar, s.wavelength) for s in spectra]
    alone = predictor.predict_all(bare, batch_size=3)
    for name in ("class_prob_STAR", "z", "teff"):
        np.testing.assert_allclose(whole[name], alone[name], rtol=1e-3, atol=1e-4)


def test_true_redshifts_judge_the_distributions(run: Path, batch: SpectrumBatch) -> None:
    """A truth far above lies above the whole distribution, and is the worse the farther it lies."""
    predictor = Predictor.load(run)
    plain = predictor.predict(batch)
    assert not {"z_crps", "z_pit"} & set(plain.colnames)
    found = predictor.predict(batch, torch.tensor(np.asarray(plain["z"])).float())
    high = predictor.predict(batch, torch.full((len(batch),), 50.0))
    np.testing.assert_allclose(high["z_pit"], 1.0, rtol=1e-12)
    assert ((found["z_pit"] > 0.0) & (found["z_pit"] < 1.0)).all()
    assert (np.asarray(high["z_crps"]) > np.asarray(found["z_crps"])).all() and (found["z_crps"] > 0.0).all()


def test_the_scan_can_be_left_out(run: Path, batch: SpectrumBatch) -> None:
    predictor = Predictor.load(run)
    columns = {"z_scan", "z_scan_err", "z_scan_flag"}
    with_scan, without = predictor.predict(batch).colnames, predictor.predict(batch, scan=False).colnames
    assert columns <= set(with_scan) and set(without) == set(with_scan) - columns


def test_of_nothing_comes_an_empty_table(run: Path, batch: SpectrumBatch) -> None:
    predictor = Predictor.load(run)
    full = predictor.predict(batch)
    for table in (predictor.predict([]), predictor.predict_all([]), predictor.predict_batches([])):
        assert len(table) == 0 and table.colnames == full.colnames
        assert [table[name].dtype.kind for name in full.colnames] == [full[name].dtype.kind for name in full.colnames]
    assert "z_pit" in predictor.predict(batch.select([]), torch.zeros(0)).colnames
    assert predictor.predict([], scan=False).colnames == predictor.predict(batch, scan=False).colnames


def test_lists_of_arrays_of_different_lengths_are_predicted(run: Path, batch: SpectrumBatch) -> None:
    predictor = Predictor.load(run)
    spectra = [
        batch.spectrum(0),
        *(Spectrum(s.flux[:n], s.ivar[:n], s.wavelength[:n]) for n, s in ((900, batch.spectrum(1)),)),
    ]
    want = predictor.predict(spectra)
    lists = ([getattr(s, name).numpy() for s in spectra] for name in ("flux", "ivar", "wavelength"))
    flux, ivar, wavelength = lists
    found = predictor.predict(flux, ivar=ivar, wavelength=wavelength)
    np.testing.assert_allclose(found["z"], want["z"], rtol=1e-5)


def test_a_folder_that_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not the folder of a finished run: it holds no model.json"):
        Predictor.load(tmp_path)
    shutil.copy(run / "model.json", tmp_path)
    with pytest.raises(RunError, match=r"it holds no weights.safetensors"):
        Predictor.load(tmp_path)
