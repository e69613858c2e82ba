"""Batches from spectra in any form, for the functions that accept all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.arrays import exchanged
from spectromer.errors import ArgumentError
from spectromer.spectra import Spectrum, SpectrumBatch

__all__ = ["batch_of", "in_own_units"]


def batch_of(spectra: Any, ivar: Any = None, wavelength: Any = None) -> SpectrumBatch:
    """Make a batch from spectra in any form. A batch is returned as it is.

    Parameters
    ----------
    spectra : SpectrumBatch, Spectrum, object of specutils, iterable of these, or array-like [N] or [B, N]
        The spectra, or their flux. See `SpectrumBatch.from_specutils` for the objects of specutils. A DataFrame of
        pandas or polars counts as an array [B, N], with one spectrum per row. A list may hold fluxes of different
        lengths.
    ivar : array-like [N] or [B, N], or list of B array-likes, optional
        The inverse variance of a flux; by default 1 where the flux is finite.
    wavelength : array-like [N] or [B, N], or list of B array-likes, optional
        The wavelength of a flux. A unit is converted; without one, it is in Angstrom.

    Raises
    ------
    ArgumentError
        When `spectra` is none of these, or a flux has no wavelength or another shape.
    """
    if isinstance(spectra, SpectrumBatch):
        return spectra
    if wavelength is not None:
        return _of_arrays(spectra, ivar, wavelength)
    if hasattr(spectra, "columns") or hasattr(spectra, "colnames"):
        raise ArgumentError(
            f"a table ({type(spectra).__name__}) is no spectrum by itself; give the columns of one spectrum as "
            "arrays: table['flux'], ivar=table['ivar'], wavelength=table['wavelength']"
        )
    if isinstance(spectra, Spectrum) or hasattr(spectra, "spectral_axis"):
        spectra = [spectra]
    if isinstance(spectra, Iterable) and not hasattr(spectra, "shape"):
        found = list(spectra)
        if all(isinstance(s, Spectrum) or hasattr(s, "spectral_axis") for s in found):
            parts = [[s] if isinstance(s, Spectrum) else SpectrumBatch.from_specutils(s) for s in found]
            return SpectrumBatch.from_spectra([s for part in parts for s in part])
    raise ArgumentError(
        "spectra must be a Spectrum, a SpectrumBatch, spectra of specutils, a list of these, "
        f"or a flux with its wavelength; got {type(spectra).__name__}"
    )


def _of_arrays(flux: Any, ivar: Any, wavelength: Any) -> SpectrumBatch:
    flux, ivar, wavelength = (exchanged(values) for values in (flux, ivar, wavelength))
    if isinstance(flux, Tensor) and isinstance(wavelength, Tensor) and isinstance(ivar, Tensor | None):
        return _of_tensors(flux, ivar, wavelength)
    flux, ivar, wavelength = (_without_labels(values) for values in (flux, ivar, wavelength))
    if isinstance(flux, list | tuple) and (not flux or any(np.ndim(_array(row)) for row in flux)):
        return _of_rows(flux, ivar, wavelength)
    if np.ndim(flux) == 1:
        return SpectrumBatch.from_spectra([Spectrum.from_arrays(flux, ivar, wavelength)])
    if np.ndim(flux) != 2:
        raise ArgumentError(f"flux must have the shape [N] or [B, N], got {np.shape(flux)}")

    def row(values: Any, i: int) -> Any:
        shape = np.shape(getattr(values, "array", values))  # `array` is of the uncertainties of astropy
        return values[i] if len(shape) == 2 else values

    made = (Spectrum.from_arrays(flux[i], row(ivar, i), row(wavelength, i)) for i in range(len(flux)))
    return SpectrumBatch.from_spectra(list(made))


def _without_labels(values: Any) -> Any:
    """The numbers of a DataFrame, and anything else as it is. The index of its rows would be taken for columns."""
    return values.to_numpy() if hasattr(values, "to_numpy") and hasattr(values, "columns") else values


def _array(row: Any) -> Any:
    """A row of a flux for `np.ndim`, which does not take all tensors."""
    return row.detach().cpu() if isinstance(row, Tensor) else row


def _of_rows(flux: Sequence[Any], ivar: Any, wavelength: Any) -> SpectrumBatch:
    """A batch of spectra whose lengths may differ, given as a list of their fluxes."""

    def rows(values: Any, name: str) -> list[Any]:
        shared = values is None or np.ndim(values[0] if isinstance(values, list | tuple) and values else values) == 0
        if shared or (not isinstance(values, list | tuple) and np.ndim(values) == 1):
            return [values] * len(flux)
        if len(values) != len(flux):
            raise ArgumentError(f"{name} must have one row for each of the {len(flux)} fluxes, got {len(values)}")
        return list(values)

    found = zip(flux, rows(ivar, "ivar"), rows(wavelength, "wavelength"), strict=True)
    return SpectrumBatch.from_spectra([Spectrum.from_arrays(*row) for row in found])


def _of_tensors(flux: Tensor, ivar: Tensor | None, wavelength: Tensor) -> SpectrumBatch:
    """A batch of tensors, which keep their device and their gradient."""
    rows = torch.atleast_2d(flux)
    weights = torch.ones_like(rows.detach()) if ivar is None else torch.atleast_2d(ivar).to(rows.device)
    if rows.shape != weights.shape or wavelength.shape not in (rows.shape, rows.shape[1:], flux.shape):
        raise ArgumentError(
            "flux, ivar and wavelength must have the same length N, "
            f"got {tuple(flux.shape)}, {tuple(weights.shape)} and {tuple(wavelength.shape)}"
        )
    good = rows.isfinite() & weights.isfinite() & (weights > 0)
    kept = SpectrumBatch(
        rows.masked_fill(~rows.isfinite(), 0.0).float(),
        weights.float().masked_fill(~good, 0.0),
        wavelength,
    )
    fits = kept.flux.isfinite() & kept.ivar.isfinite() & ((kept.ivar > 0) | ~good)
    if not bool(fits.all()):  # in units such as erg/s/cm2/Angstrom
        return _of_arrays(flux.detach().cpu().numpy(), weights.detach().cpu().numpy().reshape(flux.shape), wavelength)
    return kept


def in_own_units(batch: SpectrumBatch) -> SpectrumBatch:
    """The batch with a flux_scale of 1. An inverse variance beyond single precision becomes its end.

    A flux in erg/s/cm2/Angstrom can be stored in single precision, but its inverse variance may not.
    """
    limits = torch.finfo(torch.float32)
    scale = torch.tensor(batch.flux_scale, dtype=torch.float64, device=batch.flux.device)[:, None]
    ivar = (batch.ivar / scale**2).clamp(limits.tiny, limits.max).float()
    return replace(
        batch,
        flux=(batch.flux * scale).float(),
        ivar=torch.where(batch.ivar > 0, ivar, torch.zeros_like(ivar)),
        flux_scale=[1.0] * len(batch),
    )
