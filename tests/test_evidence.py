"""Redshifts by all evidence: scans by class, and their combination with a model's distribution."""

import math

import numpy as np
import pytest
import torch

from spectromer import SpectrumBatch, scan_redshift, templates
from spectromer.learning.evidence import SCAN_FLAGS, package_templates, posterior, scan
from spectromer.learning.metrics import CATASTROPHIC
from spectromer.learning.redshift import RedshiftHead
from spectromer.surveys.simulated import simulate
from spectromer.templates import TemplateSet


def test_it_is_the_scan_with_the_templates_of_the_class() -> None:
    batch = SpectrumBatch.from_spectra(list(simulate(40, seed=10)))
    classes = [labels["class"] for labels in batch.labels]
    assert len(set(classes)) == 3
    sets = {one.name: one for one in templates.load()}
    scans = [scan_redshift(batch.spectrum(i), templates=sets[kind]) for i, kind in enumerate(classes)]
    z, error = (torch.cat([getattr(one, name) for one in scans]) for name in ("z", "z_err"))
    unsure = torch.cat([one.flag for one in scans]).numpy()
    assert unsure.any() and not unsure.all()
    limits = torch.tensor([CATASTROPHIC[kind] for kind in classes], dtype=torch.float64)
    signs = torch.tensor([(-1.0) ** i for i in range(len(z))])
    found = scan(batch, classes, package_templates())
    for part, differ in ((0.9, False), (1.1, True)):  # just within the limit of a wrong redshift, and just beyond
        given = (z + signs * part * limits) / (1.0 - signs * part * limits)
        columns = found.columns(classes, given)
        np.testing.assert_allclose(columns["z_scan"], z, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(columns["z_scan_err"], error, rtol=1e-3)
        expected = SCAN_FLAGS["UNSURE"] * unsure + SCAN_FLAGS["DISAGREES"] * differ
        np.testing.assert_array_equal(columns["z_scan_flag"], expected)


def test_an_unknown_class_is_scanned_with_all_templates() -> None:
    batch = SpectrumBatch.from_spectra(list(simulate(6, seed=3)))
    found = scan(batch, [""] * 6, package_templates())
    np.testing.assert_allclose(found.z, scan_redshift(batch).z, rtol=1e-6)
    assert not found.curves


def test_a_spectrum_without_pixels_has_none() -> None:
    flux = torch.zeros(1, 100)
    batch = SpectrumBatch(flux, flux, torch.linspace(4000.0, 9000.0, 100, dtype=torch.float64))
    found = scan(batch, ["GALAXY"], package_templates())
    columns = found.columns(["GALAXY"], torch.zeros(1))
    assert np.isnan(columns["z_scan"][0]) and columns["z_scan_flag"][0] == SCAN_FLAGS["UNSURE"]
    assert torch.equal(found.curves["GALAXY"][1], torch.zeros_like(found.curves["GALAXY"][1]))  # nothing is learnt


@pytest.fixture(scope="module")
def head() -> RedshiftHead:
    return RedshiftHead(8, None, 1.0, step=5e-4)


GALAXY = TemplateSet("GALAXY", torch.ones(1, 10), 35000, (-0.002, 0.9))
AXIS = torch.log1p(GALAXY.z)


@pytest.mark.parametrize(("at", "width"), [(0.3003, 4e-4), (0.30064, 2e-4), (0.29987, 1e-4)])
def test_two_normal_distributions_are_multiplied(head: RedshiftHead, at: float, width: float) -> None:
    """Their precisions add up, and the mean is weighted by them."""
    said, sigma = 0.3006, 9e-4
    logits = -0.5 * ((head.centres[None] - said) / sigma) ** 2
    above = ((AXIS[None] - at) / width) ** 2
    for reduced in (0.5, 1.0, 6.0):
        found = posterior(head, logits, GALAXY, above - above.min(), torch.tensor([reduced]))
        weights = np.array([1.0 / sigma**2, 1.0 / (4.0 * max(1.0, reduced) * width**2)])
        mean = weights @ [said, at] / weights.sum()
        # The prior is interpolated linearly between bins of half its width.
        assert math.log1p(float(found.z)) == pytest.approx(mean, abs=0.03 * weights.sum() ** -0.5)
        assert float(found.sigma) == pytest.approx(weights.sum() ** -0.5, rel=0.05)
        assert float(found.within(torch.tensor([0.003336]))) == pytest.approx(
            math.erf(0.003336 * weights.sum() ** 0.5 / math.sqrt(2.0)), abs=0.02
        )


def test_strong_evidence_overrules_the_model_and_weak_evidence_does_not(head: RedshiftHead) -> None:
    logits = -0.5 * ((head.centres[None] - 0.1) / 1e-3) ** 2

    def combined(depth: float) -> float:
        """The redshift if chi-square is smaller by `depth` at ln(1 + z) = 0.4 than at 0.1, and higher elsewhere."""
        near = [((AXIS - x) / 1e-3) ** 2 for x in (0.4, 0.1)]
        above = torch.minimum(torch.minimum(near[0], depth + near[1]), torch.tensor(1e4))[None]
        return math.log1p(float(posterior(head, logits, GALAXY, above - above.min(), torch.ones(1)).z))

    assert combined(20.0) == pytest.approx(0.1, abs=1e-4)
    assert combined(200.0) == pytest.approx(0.4, abs=1e-4)


def test_the_model_alone_decides_where_a_scan_has_no_answer(head: RedshiftHead) -> None:
    logits = -0.5 * ((head.centres[None] - 0.2) / 2e-3) ** 2
    found = posterior(head, logits, GALAXY, torch.zeros(1, len(AXIS)), torch.ones(1))
    assert math.log1p(float(found.z)) == pytest.approx(0.2, abs=3e-4)
    beyond = -0.5 * ((head.centres[None] - head.centres[-1]) / 2e-3) ** 2  # above the redshifts of the templates
    assert bool(torch.isfinite(posterior(head, beyond, GALAXY, torch.zeros(1, len(AXIS)), torch.ones(1)).z).all())
