"""scan_redshift against least-squares fits at every shift, an analytic truth, and what must hold by definition."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spectromer
from spectromer import Spectrum, SpectrumBatch, reference
from spectromer.errors import ArgumentError, ReadError
from spectromer.ops.chisquare import chi_square, fit_at
from spectromer.ops.scan import scan_redshift
from spectromer.templates import TemplateSet, load, save

STEP = 1e-4
FIRST = 35000  # 3162 Angstrom
LINES = ((3800.0, 1.0), (4100.0, 0.6), (4340.0, -0.5), (4862.0, 0.8), (5008.0, 1.5))


def rest_flux(wavelength: np.ndarray) -> np.ndarray:
    """Two templates [2, R]: lines, and a continuum."""
    lines = sum(height * np.exp(-0.5 * ((wavelength / centre - 1.0) / 6e-4) ** 2) for centre, height in LINES)
    return np.stack([lines, (wavelength / 5000.0) ** -1.5])


def template_set(z_range: tuple[float, float] = (0.0, 0.15), bins: int = 4500, name: str = "LINES") -> TemplateSet:
    grid = 10.0 ** (STEP * (FIRST + np.arange(bins)))
    return TemplateSet(name, torch.from_numpy(rest_flux(grid)), FIRST, z_range, STEP)


def observed(z: float, snr: float = 10.0, seed: int = 0, pixels: int = 2500) -> Spectrum:
    """A sum of the templates at z on SDSS's grid, with noise."""
    wavelength = 10.0 ** (3.58 + STEP * np.arange(pixels))
    flux = np.array([2.0, 3.0]) @ rest_flux(wavelength / (1.0 + z))
    noise = np.random.default_rng(seed).normal(size=pixels) * 3.0 / snr if math.isfinite(snr) else 0.0
    sigma = 3.0 / min(snr, 1e3)
    return Spectrum.from_arrays(flux + noise, np.full(pixels, sigma**-2), wavelength)


def problem(
    seed: int, pixels: int, bins: int, count: int, rows: int = 2, masked: float = 0.2
) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    flux, ivar = rng.normal(1.0, 1.0, (rows, pixels)), rng.uniform(0.2, 3.0, (rows, pixels))
    ivar[rng.random((rows, pixels)) < masked] = 0.0
    return flux, ivar, rng.normal(0.5, 1.0, (count, bins))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    pixels=st.integers(2, 40),
    bins=st.integers(2, 60),
    count=st.integers(1, 4),
    polynomials=st.integers(0, 2),
    first=st.integers(-40, 20),
    low=st.integers(-30, 10),
    span=st.integers(0, 40),
    coverage=st.sampled_from([0.1, 0.5, 0.8, 1.0]),
    masked=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
)
def test_equals_a_fit_at_every_shift(
    seed: int,
    pixels: int,
    bins: int,
    count: int,
    polynomials: int,
    first: int,
    low: int,
    span: int,
    coverage: float,
    masked: float,
) -> None:
    """Any range of the templates, pixels and shifts, any masks, and rows without a good pixel."""
    flux, ivar, templates = problem(seed, pixels, bins, count, masked=masked)
    fixed = np.stack([np.linspace(-1.0, 1.0, pixels) ** n for n in range(polynomials)] or [np.zeros(pixels)])[
        :polynomials
    ]
    arguments = [torch.from_numpy(a) for a in (flux, ivar, templates)]
    shifts = (low, low + span)
    got = chi_square(*arguments, first, shifts, polynomials=torch.from_numpy(fixed), coverage=coverage)
    for row in range(2):
        want = reference.chi_square(flux[row], ivar[row], templates, first, shifts, fixed, coverage)
        null = (ivar[row] * flux[row] ** 2).sum()
        np.testing.assert_array_equal(got.chi2[row].isfinite().numpy(), np.isfinite(want))
        known = np.isfinite(want)
        # A ridge of 1e-11 matters in systems with almost as many amplitudes as pixels.
        np.testing.assert_allclose(got.chi2[row].numpy()[known], want[known], rtol=1e-4, atol=1e-5 * null)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_precision(dtype: torch.dtype, tolerance: float, device: str) -> None:
    """The error of chi-square is a share of the summed squares of S/N that depends on the type."""
    flux, ivar, templates = problem(1, 900, 1300, 5)
    flux = flux * np.linspace(0.01, 100.0, 900)
    arguments = [torch.from_numpy(a).to(device, dtype) for a in (flux, ivar, templates)]
    got = chi_square(*arguments, -200, (0, 150)).chi2.double().cpu()
    for row in range(2):
        want = reference.chi_square(flux[row], ivar[row], templates, -200, (0, 150))
        error = np.abs(got[row].numpy() - want).max() / (ivar[row] * flux[row] ** 2).sum()
        assert error < tolerance


def test_pixels_beyond_the_templates_are_not_free() -> None:
    """Noise costs as much at a shift that covers half of the pixels as at one that covers all."""
    rng = np.random.default_rng(0)
    flux, ivar = torch.from_numpy(rng.normal(size=(200, 400))), torch.ones(200, 400, dtype=torch.float64)
    templates = torch.from_numpy(rng.normal(size=(2, 400)))
    found = chi_square(flux, ivar, templates, 0, (0, 200), coverage=0.5)
    assert found.pixels[0, 0] == 400 and found.pixels[0, -1] == 200
    mean = found.chi2.mean(0)
    assert float(mean[0]) == pytest.approx(398.0, abs=6.0) and float(mean[-1]) == pytest.approx(396.0, abs=8.0)
    assert not chi_square(flux, ivar, templates, 0, (0, 200), coverage=0.6).chi2[:, -1].isfinite().any()


def test_gradients() -> None:
    """Of chi-square with respect to flux, templates and polynomials, where some shifts are not covered."""
    flux, ivar, templates = (torch.from_numpy(a) for a in problem(2, 14, 18, 2))
    fixed = torch.linspace(-1.0, 1.0, 14, dtype=torch.float64)[None] + 0.3

    def finite(flux: torch.Tensor, templates: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        chi2 = chi_square(flux, ivar, templates, -2, (-4, 9), polynomials=fixed, coverage=0.7).chi2
        assert not chi2.isfinite().all() and chi2.isfinite().any()
        return torch.where(chi2.isfinite(), chi2, 0.0)

    inputs = tuple(a.clone().requires_grad_() for a in (flux, templates, fixed))
    # The unit of the flux is a constant of the graph; chi-square does not depend on it.
    assert torch.autograd.gradcheck(finite, inputs, eps=1e-6, atol=1e-5)


def test_curves_carry_gradients_to_the_templates() -> None:
    known = template_set((0.0, 0.05))
    free = replace(known, flux=known.flux.clone().requires_grad_())
    found = scan_redshift([observed(0.03)], templates=free, curves=True)
    assert found.curves is not None and found.curves[0].shape == (1, len(free.z))
    (gradient,) = torch.autograd.grad(found.curves[0].min(), free.flux)
    assert bool(gradient.isfinite().all()) and bool(gradient.any())
    assert not found.z.requires_grad


def test_the_fit_at_one_shift_is_that_of_the_curve() -> None:
    flux, ivar, templates = (torch.from_numpy(a) for a in problem(3, 60, 90, 3))
    fixed = torch.ones(1, 60, dtype=torch.float64)
    curve = chi_square(flux, ivar, templates, -20, (0, 10), polynomials=fixed).chi2
    amplitudes, model = fit_at(flux, ivar, templates, -20, torch.tensor([4, 7]), polynomials=fixed)
    assert amplitudes.shape == (2, 4)
    chi2 = (ivar * (flux - model) ** 2).sum(1)
    torch.testing.assert_close(chi2, torch.stack([curve[0, 4], curve[1, 7]]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("z", [0.01, 0.0512345, 0.13])
def test_finds_a_known_redshift(z: float, device: str) -> None:
    """Without noise within 2 km/s, by the parabola; amplitudes and model are those that were put in."""
    batch = SpectrumBatch.from_spectra([observed(z, math.inf)]).to(device)
    found = scan_redshift(batch, templates=template_set(), model=True)
    assert float(found.z[0]) == pytest.approx(z, abs=2.0 / 3e5)
    assert found.names == ("LINES",) and found.class_names == ["LINES"] and not bool(found.flag[0])
    assert found.amplitudes[0].tolist() == pytest.approx([2.0, 3.0], rel=0.02)
    assert found.model is not None and found.model.shape[1] == found.wavelength.shape[0] == 2500
    assert int(found.dof[0]) == 2498 and float(found.delta_chi2[0]) > 9.0


def test_errors_are_those_of_the_scatter() -> None:
    """The mean over 150 draws of noise is the truth, and the scatter is z_err."""
    z, spectra = 0.0712, [observed(0.0712, 6.0, seed) for seed in range(150)]
    found = scan_redshift(spectra, templates=template_set())
    pull = (found.z - z) / found.z_err
    assert abs(float(pull.mean())) < 0.3 and float(pull.std()) == pytest.approx(1.0, abs=0.2)
    assert float((found.chi2 / found.dof).mean()) == pytest.approx(1.0, abs=0.02)


def test_the_second_minimum_is_another_redshift() -> None:
    """Two lines that can be taken for one another: the second minimum is the alias."""
    grid = 10.0 ** (STEP * (FIRST + np.arange(4500)))
    pair = sum(np.exp(-0.5 * ((grid / c - 1.0) / 5e-4) ** 2) for c in (4500.0, 4700.0))
    lines = TemplateSet("PAIR", torch.from_numpy(pair)[None], FIRST, (0.0, 0.15))
    wavelength = 10.0 ** (3.58 + STEP * np.arange(2500))
    rng = np.random.default_rng(0)
    flux = sum(np.exp(-0.5 * ((wavelength / (1.08 * c) - 1.0) / 5e-4) ** 2) for c in (4500.0, 4700.0))
    spectrum = Spectrum.from_arrays(flux + 0.05 * rng.normal(size=2500), np.full(2500, 400.0), wavelength)
    found = scan_redshift(spectrum, templates=lines)
    aliases = [1.08 * 4500.0 / 4700.0 - 1.0, 1.08 * 4700.0 / 4500.0 - 1.0]
    assert float(found.z[0]) == pytest.approx(0.08, abs=1e-4)
    assert min(abs(float(found.z_second[0]) - z) for z in aliases) < 1e-3
    assert float(found.delta_chi2[0]) > 9.0


def test_the_best_of_several_sets_wins() -> None:
    known = template_set()
    wrong = TemplateSet("FLAT", known.flux[1:], FIRST, (-0.002, 0.002))
    found = scan_redshift([observed(0.04), observed(0.09, seed=2)], templates=(wrong, known))
    assert found.template.tolist() == [1, 1] and found.class_names == ["LINES", "LINES"]
    assert found.amplitudes.shape == (2, 2) and found.set_chi2.shape == (2, 2)
    assert bool((found.set_chi2[:, 0] > found.set_chi2[:, 1]).all())
    torch.testing.assert_close(found.set_z[:, 1], found.z)


def test_polynomials_take_up_a_calibration_error() -> None:
    spectrum = observed(0.06, 20.0)
    tilt = torch.linspace(0.0, 2.0, len(spectrum)).square()
    bent = replace(spectrum, flux=spectrum.flux + tilt)
    plain, freed = (scan_redshift(bent, templates=template_set(), polynomials=n) for n in (0, 3))
    assert float(freed.chi2[0] / freed.dof[0]) < 1.1 < float(plain.chi2[0] / plain.dof[0])
    assert int(plain.dof[0]) - int(freed.dof[0]) == 3


def test_rows_do_not_depend_on_their_batch() -> None:
    spectra = [observed(0.03), observed(0.07, seed=5, pixels=1900), observed(0.11, seed=6)]
    forward, backward = (scan_redshift(s, templates=template_set()) for s in (spectra, spectra[::-1]))
    for name in ("z", "z_err", "chi2", "dof", "delta_chi2", "z_second", "amplitudes"):
        torch.testing.assert_close(getattr(forward, name), getattr(backward, name).flip(0), rtol=1e-6, atol=1e-9)
    for row, spectrum in enumerate(spectra):
        alone = scan_redshift(spectrum, templates=template_set())
        assert float(alone.z[0]) == pytest.approx(float(forward.z[row]), abs=1e-8)


def test_spectra_without_an_answer() -> None:
    """All masked, or nowhere near the templates: NaN and a flag. No spectrum gives empty tensors."""
    good = observed(0.05)
    masked = replace(good, ivar=torch.zeros_like(good.ivar))
    found = scan_redshift([masked, good], templates=template_set())
    assert math.isnan(found.z[0]) and math.isnan(found.chi2[0]) and math.isnan(found.delta_chi2[0])
    assert found.flag.tolist() == [True, False] and found.template.tolist() == [-1, 0]
    assert found.class_names == ["", "LINES"] and int(found.dof[0]) == 0
    far = replace(good, wavelength=good.wavelength * 10.0)
    for nothing in (masked, far):
        alone = scan_redshift(nothing, templates=template_set(), model=True)
        assert math.isnan(alone.z[0]) and bool(alone.flag[0])
    empty = scan_redshift(SpectrumBatch.from_spectra([good]).select([]), templates=template_set())
    assert len(empty) == 0 and empty.amplitudes.shape[0] == 0


def test_an_answer_at_the_end_of_the_range_is_flagged() -> None:
    found = scan_redshift(observed(0.1), templates=template_set((0.0, 0.0995)))
    assert bool(found.flag[0])


def test_units_do_not_matter() -> None:
    """A flux too small for single precision gives the same redshift, and amplitudes in its unit."""
    spectrum = observed(0.05)
    small = Spectrum.from_arrays(spectrum.flux.double() * 1e-25, spectrum.ivar.double() * 1e50, spectrum.wavelength)
    assert small.flux_scale != 1.0
    one, other = (scan_redshift(s, templates=template_set()) for s in (spectrum, small))
    assert float(one.z[0]) == pytest.approx(float(other.z[0]), abs=1e-8)
    assert (other.amplitudes[0] * 1e25).tolist() == pytest.approx(one.amplitudes[0].tolist(), rel=1e-4)


def test_narrow_bins_share_the_information_of_wide_pixels() -> None:
    """Pixels of four bins: chi-square per degree of freedom stays below 1, and the error is honest."""
    z, pulls = 0.06, []
    wavelength = 10.0 ** (3.58 + 4.0 * STEP * np.arange(600))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        flux = np.array([2.0, 3.0]) @ rest_flux(wavelength / (1.0 + z)) + 0.2 * rng.normal(size=600)
        found = scan_redshift(flux, np.full(600, 25.0), wavelength, templates=template_set())
        pulls.append(float((found.z[0] - z) / found.z_err[0]))
    assert float(np.std(pulls)) < 1.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"templates": ()}, "templates must be one or more sets"),
        ({"polynomials": -1}, "polynomials must be a number from 0 to 8"),
        ({"coverage": 0.0}, "coverage must lie in"),
        ({"dtype": torch.float16}, "dtype must be"),
        ({"templates": (template_set(), TemplateSet("B", torch.ones(1, 5), 0, (0, 1), 2e-4))}, "must have one step"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        spectromer.scan_redshift(observed(0.05), **options)


def test_templates_come_back_from_their_file(tmp_path: Path) -> None:
    known = template_set()
    save([known], tmp_path / "own.safetensors", about={"licence": "MIT"}, dtype=torch.float32)
    (back,) = load(tmp_path / "own.safetensors")
    assert (back.name, back.first, back.z_range, back.step) == (known.name, known.first, known.z_range, known.step)
    scale = known.flux.abs().amax(1, keepdim=True)
    torch.testing.assert_close(back.flux, known.flux / scale, rtol=1e-6, atol=1e-6)
    (tmp_path / "text.safetensors").write_text("no templates")
    for name in ("text.safetensors", "missing.safetensors"):
        with pytest.raises(ReadError, match=name):
            load(tmp_path / name)


def test_the_package_brings_templates() -> None:
    """They find the redshifts of simulated galaxies and quasars."""
    from spectromer.surveys.simulated import simulate

    spectra = [s for s in simulate(256, seed=4, surveys=("SDSS",)) if s.snr > 8 and s.labels["z"] > 0.06]
    found = scan_redshift(spectra)
    assert found.names == ("STAR", "GALAXY", "QSO")
    z = torch.tensor([s.labels["z"] for s in spectra], dtype=torch.float64)
    good = (found.z - z).abs() < 0.01 * (1.0 + z)
    assert len(spectra) > 40 and float(good.double().mean()) > 0.9


def test_pixels_without_data_do_not_decide_the_class_of_a_real_galaxy(survey_data: Path) -> None:
    """LAMOST 740103217, whose last pixels are zeros with a positive ivar. Its Ca H and K lie at z = 0.1461."""
    (path,) = (survey_data / "spectra").rglob("spec-58575-HD103621N361936B01_sp03-217.fits")
    found = scan_redshift(spectromer.read(path))
    assert found.class_names == ["GALAXY"] and float(found.z) == pytest.approx(0.1461, abs=3e-4)
