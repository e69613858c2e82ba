"""Masks and units of arrays in memory are honoured or refused, and every scale of flux fits."""

from typing import Any

import numpy as np
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch, render
from spectromer.errors import ArgumentError

u = pytest.importorskip("astropy.units")
WAVES = np.array([4000.0, 4001.0, 4002.0, 4003.0])
ONES = np.ones(4)


def masked_kinds() -> dict[str, Any]:
    from astropy.table import MaskedColumn
    from astropy.utils.masked import Masked

    values, mask = np.array([1e20, 2.0, 3.0, 4.0]), np.array([True, False, False, False])
    return {
        "numpy": np.ma.masked_array(values, mask),
        "Masked": Masked(values, mask),
        "Masked quantity": Masked(values * u.Jy, mask),
        "MaskedColumn": MaskedColumn(values, mask=mask),
        "MaskedColumn with a unit": MaskedColumn(values, mask=mask, unit="Jy"),
    }


@pytest.mark.parametrize("kind", masked_kinds())
def test_masked_pixels_are_masked(kind: str) -> None:
    values = masked_kinds()[kind]
    assert Spectrum.from_arrays(values, ONES, WAVES).ivar.tolist() == [0.0, 1.0, 1.0, 1.0]
    ivar = np.ma.masked_array(ONES, [False, True, False, False])
    assert Spectrum.from_arrays(values, ivar, WAVES).ivar.tolist() == [0.0, 0.0, 1.0, 1.0]


def test_pixels_without_a_wavelength_are_left_out() -> None:
    found = Spectrum.from_arrays([1.0, 2, 3, 4], ONES, np.ma.masked_array(WAVES, [False, True, False, False]))
    assert found.flux.tolist() == [1.0, 3.0, 4.0] and found.wavelength.tolist() == [4000.0, 4002.0, 4003.0]


def test_a_mask_of_its_own() -> None:
    for mask in ([0, 1, 0, 4], np.array([False, True, False, True]), torch.tensor([0, 1, 0, 1])):
        assert Spectrum.from_arrays(ONES, ONES, WAVES, mask=mask).ivar.tolist() == [1.0, 0.0, 1.0, 0.0]
    with pytest.raises(ArgumentError, match=r"mask must have the shape of flux, \(4,\), got \(3,\)"):
        Spectrum.from_arrays(ONES, ONES, WAVES, mask=[0, 1, 0])


def test_units_of_table_columns() -> None:
    from astropy.table import QTable, Table

    for table in (Table, QTable):
        rows = table({"w": WAVES / 10 * u.nm, "f": ONES * u.Jy, "i": 4 * ONES / u.mJy**2})
        found = Spectrum.from_arrays(rows["f"], rows["i"], rows["w"])
        np.testing.assert_allclose(found.wavelength, WAVES, rtol=1e-14)
        np.testing.assert_allclose(found.ivar, 4e6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_spellings_of_angstrom() -> None:
    from astropy.table import Column

    for unit in ("Angstrom", "angstrom", "Angstroms", "ANGSTROMS", "A", "AA", "Ang"):
        found = Spectrum.from_arrays(ONES, ONES, Column(WAVES, unit=unit))
        np.testing.assert_allclose(found.wavelength, WAVES, rtol=1e-14)


def test_missing_values_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    flux = pandas.Series([1.0, None, 3.0, 4.0], dtype="Float64")
    assert Spectrum.from_arrays(flux, pandas.Series(ONES), pandas.Series(WAVES)).ivar.tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "axis",
    [WAVES / 1e4 * u.um, 2.99792458e18 / WAVES * u.Hz, 12398.419843320026 / WAVES * u.eV, 1e8 / WAVES / u.cm],
)
def test_every_spectral_unit(axis: Any) -> None:
    found = Spectrum.from_arrays([1.0, 2, 3, 4], ONES, axis)
    np.testing.assert_allclose(found.wavelength, WAVES, rtol=1e-12)
    assert found.flux.tolist() == [1.0, 2.0, 3.0, 4.0]  # turned where the axis runs the other way


def test_uncertainties_of_every_kind_and_unit() -> None:
    from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

    flux = ONES * u.Jy
    per_wavelength = (0.5 * u.Jy).to(u.erg / u.s / u.cm**2 / u.AA, u.spectral_density(WAVES * u.AA))
    for uncertainty in (
        StdDevUncertainty(0.5 * ONES),
        StdDevUncertainty(500.0 * ONES, unit=u.mJy),
        VarianceUncertainty(0.25e6 * ONES, unit=u.mJy**2),
        InverseVariance(4.0 * ONES),
        StdDevUncertainty(per_wavelength.value, unit=per_wavelength.unit),
        4.0 * ONES,
        4.0 * ONES / u.Jy**2,
        4.0e-6 * ONES / u.mJy**2,
    ):
        np.testing.assert_allclose(Spectrum.from_arrays(flux, uncertainty, WAVES).ivar, 4.0, rtol=1e-6)
    assert Spectrum.from_arrays([1.0, np.nan, 3, 4], None, WAVES).ivar.tolist() == [1.0, 0.0, 1.0, 1.0]


def test_what_fits_nothing_is_refused() -> None:
    from astropy.nddata import UnknownUncertainty

    for flux, ivar, waves, message in (
        (ONES * u.Jy, ONES * u.Jy, WAVES, "ivar must have the unit of flux"),
        (ONES * u.Jy, ONES / u.K**2, WAVES, "ivar must have the unit of flux"),
        (ONES, ONES / u.Jy**2, WAVES, "ivar must have no unit if the flux has none"),
        (ONES * u.ABmag, ONES, WAVES, "flux must be linear, got the logarithmic unit"),
        (ONES, ONES, WAVES * u.km / u.s, "wavelength must have a unit of length"),
        (ONES, ONES, WAVES * u.Jy, "wavelength must have a unit of length"),
        (ONES, UnknownUncertainty(ONES), WAVES, "the uncertainty must be std, var or ivar"),
        (ONES * 1j, ONES, WAVES, "flux must be real numbers"),
        (["a", "b", "c", "d"], ONES, WAVES, "flux must be real numbers"),
        (ONES[None], ONES[None], WAVES[None], r"must have the same shape \[N\]"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Spectrum.from_arrays(flux, ivar, waves)


@pytest.mark.parametrize("decade", [-150, -42, -25, -18, -8, 0, 8, 21, 40, 150])
def test_no_scale_of_flux_is_masked(decade: int) -> None:
    flux = np.array([1.0, -2.0, 5.0, 7.0]) * 10.0**decade
    found = Spectrum.from_arrays(flux, np.full(4, 400.0 * 10.0 ** (-2.0 * decade)), WAVES)
    np.testing.assert_allclose(found.flux.double().numpy() * found.flux_scale, flux, rtol=1e-6)
    np.testing.assert_allclose(found.flux * found.ivar.sqrt(), [20.0, -40.0, 100.0, 140.0], rtol=1e-5)
    assert found.snr == pytest.approx(60.0, rel=1e-5)


def test_a_scale_is_taken_only_where_it_is_needed() -> None:
    """The pictures of one spectrum in two units are the same."""
    rng = np.random.default_rng(0)
    waves = np.linspace(3800.0, 9200.0, 3000)
    flux, sigma = rng.normal(10.0, 1.0, 3000), np.full(3000, 0.5)
    plain = Spectrum.from_arrays(flux, sigma**-2, waves)
    cgs = Spectrum.from_arrays(flux * 1e-20, (sigma * 1e-20) ** -2, waves)
    assert plain.flux_scale == 1.0 and cgs.flux_scale == pytest.approx(1e-19)
    batch = SpectrumBatch.from_spectra([plain, cgs])
    assert batch.flux_scale == [1.0, cgs.flux_scale] and batch.spectrum(1).flux_scale == cgs.flux_scale
    assert batch.select([1]).flux_scale == [cgs.flux_scale]
    one, other = render(batch, style="plot", size=64).int()
    assert int((one - other).abs().max()) <= 1
    faint = Spectrum.from_arrays(np.full(4, 1e-42), ONES, WAVES)  # an ivar of 1 that stands for nothing
    np.testing.assert_allclose(faint.flux.double().numpy() * faint.flux_scale, 1e-42, rtol=1e-6)
    assert bool((faint.ivar > 0).all())
