"""The second redshift is that of the templates of the predicted class, and its flag tells where z differs from it."""

import numpy as np
import torch

from spectromer import SpectrumBatch, scan_redshift, templates
from spectromer.learning.metrics import CATASTROPHIC
from spectromer.learning.second import SCAN_FLAGS, scan_columns
from spectromer.surveys.simulated import simulate


def test_it_is_the_scan_with_the_templates_of_the_class() -> None:
    batch = SpectrumBatch.from_spectra(list(simulate(40, seed=2)))
    classes = [labels["class"] for labels in batch.labels]
    assert len(set(classes)) == 3
    sets = {one.name: one for one in templates.load()}
    scans = [scan_redshift(batch.spectrum(i), templates=sets[kind]) for i, kind in enumerate(classes)]
    z, error = (torch.cat([getattr(scan, name) for scan in scans]) for name in ("z", "z_err"))
    unsure = torch.cat([scan.flag for scan in scans]).numpy()
    assert unsure.any() and not unsure.all()
    limits = torch.tensor([CATASTROPHIC[kind] for kind in classes], dtype=torch.float64)
    signs = torch.tensor([(-1.0) ** i for i in range(len(z))])
    for part, differ in ((0.9, False), (1.1, True)):  # just within the limit of a wrong redshift, and just beyond
        given = (z + signs * part * limits) / (1.0 - signs * part * limits)
        found = scan_columns(batch, classes, given)
        np.testing.assert_allclose(found["z_scan"], z, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found["z_scan_err"], error, rtol=1e-3)
        expected = SCAN_FLAGS["UNSURE"] * unsure + SCAN_FLAGS["DISAGREES"] * differ
        np.testing.assert_array_equal(found["z_scan_flag"], expected)


def test_an_unknown_class_is_scanned_with_all_templates() -> None:
    batch = SpectrumBatch.from_spectra(list(simulate(6, seed=3)))
    found = scan_columns(batch, [""] * 6, torch.zeros(6))
    np.testing.assert_allclose(found["z_scan"], scan_redshift(batch).z, rtol=1e-6)


def test_a_spectrum_without_pixels_has_none() -> None:
    flux = torch.zeros(1, 100)
    batch = SpectrumBatch(flux, flux, torch.linspace(4000.0, 9000.0, 100, dtype=torch.float64))
    found = scan_columns(batch, ["GALAXY"], torch.zeros(1))
    assert np.isnan(found["z_scan"][0]) and found["z_scan_flag"][0] == SCAN_FLAGS["UNSURE"]
