"""Plain numbers from arrays in memory: tensors, masked arrays, table columns, quantities and uncertainties."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError

__all__ = ["Plain", "exchanged", "inverse_variance", "plain", "scaled", "wavelength_of"]

_LARGEST, _NORMAL = float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
_ANGSTROMS = ("a", "ang", "angstroms", "angstrom")  # in files, A is no ampere
_LOGARITHMIC = ("mag", "dex", "dB")
_DECADES = 30  # the largest power of ten of scaled values, so that their sums do not overflow


class Plain(NamedTuple):
    """The parts of an array in memory.

    Attributes
    ----------
    values : ndarray
        The numbers, of a floating-point type or of integers.
    mask : ndarray of bool or None
        True for masked elements; None if the array has no mask.
    unit : astropy.units.UnitBase or None
        The unit of the numbers; None if the array has none.
    """

    values: np.ndarray
    mask: np.ndarray | None
    unit: Any

    @property
    def good(self) -> np.ndarray:
        """The elements that are finite and not masked, as a mask."""
        finite: np.ndarray = np.isfinite(self.values)
        return finite if self.mask is None else finite & ~self.mask


def exchanged(values: Any) -> Any:
    """The tensor of an array that another library shares by DLPack, such as CuPy or JAX; anything else as it is."""
    if isinstance(values, Tensor | np.ndarray | np.generic) or not hasattr(values, "__dlpack__"):
        return values
    return torch.from_dlpack(values)


def plain(values: Any, name: str) -> Plain:
    """Split an array into its numbers, its mask and its unit.

    Parameters
    ----------
    values : array-like
        A tensor, a numpy array, a numpy or astropy masked array, a table column, a quantity, or a series of pandas or
        polars, in which a missing number is NaN.
    name : str
        The name of the argument, for messages.

    Raises
    ------
    ArgumentError
        When the elements are not real numbers, or have a logarithmic unit such as magnitudes.
    """
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        return Plain((tensor.float() if tensor.dtype.itemsize < 4 else tensor).numpy(), None, None)
    unit, mask = getattr(values, "unit", None), getattr(values, "mask", None)
    mask = None if callable(mask) else mask  # a method of pandas' Series
    numbers = np.asarray(getattr(values, "unmasked", values))  # `unmasked` is of astropy's Masked
    if hasattr(unit, "physical_unit") or str(unit) in _LOGARITHMIC:
        raise ArgumentError(f"{name} must be linear, got the logarithmic unit {unit}")
    if numbers.dtype.kind == "O":  # a missing number of pandas is no float
        numbers = np.array([np.nan if _is_missing(value) else value for value in numbers.ravel()], object)
        numbers = numbers.reshape(np.shape(values))
    if numbers.dtype.kind not in "fiu":
        try:
            numbers = numbers.astype(np.float64, casting="unsafe" if numbers.dtype.kind != "c" else "safe")
        except (TypeError, ValueError) as error:
            kind = {"O": "objects", "U": "text", "S": "text", "c": "complex numbers"}.get(numbers.dtype.kind)
            raise ArgumentError(f"{name} must be real numbers, got an array of {kind or numbers.dtype}") from error
    if mask is not None:
        mask = np.broadcast_to(np.asarray(mask, bool), numbers.shape)
    return Plain(numbers, mask, None if unit is None or str(unit) == "" else unit)


def _is_missing(value: Any) -> bool:
    """Tell whether an element stands for a missing number: None, or NA of pandas."""
    return value is None or type(value).__name__ == "NAType"


def wavelength_of(axis: Plain) -> np.ndarray:
    """Wavelengths [N] in Angstrom, float64, of an axis in any spectral unit; an axis without a unit is in Angstrom.

    Raises
    ------
    ArgumentError
        When the unit is not one of a wavelength, frequency, energy or wave number.
    """
    values = axis.values.astype(np.float64)
    if axis.unit is None:
        return values
    import astropy.units as u

    unit = u.AA if str(axis.unit).strip().lower() in _ANGSTROMS else u.Unit(axis.unit)
    try:
        with np.errstate(divide="ignore"):
            converted: np.ndarray = (values * unit).to_value(u.AA, u.spectral())
    except (u.UnitConversionError, ValueError, TypeError) as error:
        raise ArgumentError(f"wavelength must have a unit of length, frequency or energy, got {axis.unit}") from error
    return converted


def inverse_variance(ivar: Any, flux: Plain, wavelength: np.ndarray) -> Plain:
    """The inverse variance [N] of a flux, in the unit of the flux.

    Parameters
    ----------
    ivar : array-like [N], or an uncertainty of `astropy.nddata`, or None
        The inverse variance, or an uncertainty of any kind. A unit must be equivalent to that of the flux; conversions
        between flux densities per wavelength and per frequency use `wavelength`. Without a unit, it is in that of the
        flux. None stands for an unknown uncertainty: the inverse variance is then 1.
    flux : Plain
    wavelength : ndarray [N]
        Angstrom.

    Raises
    ------
    ArgumentError
        When the uncertainty is of an unknown kind, or its unit does not fit that of the flux.
    """
    if ivar is None:
        return Plain(np.ones(flux.values.shape), None, None)
    if hasattr(ivar, "uncertainty_type"):
        from astropy.nddata import InverseVariance

        try:
            converted = ivar.represent_as(InverseVariance)
        except TypeError as error:
            raise ArgumentError(f"the uncertainty must be std, var or ivar, got {ivar.uncertainty_type}") from error
        ivar, unit = plain(converted.array, "ivar"), converted.unit
    else:
        ivar = plain(ivar, "ivar")
        unit = ivar.unit
    if unit is None:
        return Plain(ivar.values, ivar.mask, None)
    if flux.unit is None:
        raise ArgumentError(f"ivar must have no unit if the flux has none, got {unit}")
    import astropy.units as u

    try:
        if u.Unit(unit) == u.Unit(flux.unit) ** -2:
            return Plain(ivar.values, ivar.mask, None)
        sigma = u.Unit(unit) ** -0.5
        factor = (np.ones(wavelength.shape) * sigma).to_value(u.Unit(flux.unit), u.spectral_density(wavelength * u.AA))
    except (u.UnitConversionError, ValueError, TypeError) as error:
        raise ArgumentError(f"ivar must have the unit of flux ** -2, got {unit} for a flux in {flux.unit}") from error
    return Plain(ivar.values / factor**2, ivar.mask, None)


def scaled(flux: np.ndarray, ivar: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Flux and inverse variance in single precision, and the power of ten that was taken out of the flux.

    Parameters
    ----------
    flux, ivar : ndarray [N]
    good : ndarray [N] of bool
        The pixels whose values count. The ivar of the others becomes 0.

    Returns
    -------
    flux, ivar : ndarray [N] float32
        Values that are not finite become 0.
    flux_scale : float
        The factor by which the flux was divided. It is 1 if both fit as they are: no good value overflows, and no ivar
        and not all of the flux vanishes. Otherwise the largest absolute flux is then about 1, unless ivar would
        overflow.
    """
    scale = 1.0
    if any(values.dtype.kind != "f" or values.dtype.itemsize > 4 for values in (flux, ivar)):
        scale = _scale(flux[good], ivar[good])
    if scale != 1.0:
        flux = np.clip(flux / scale, -_LARGEST, _LARGEST)
        ivar = np.clip(ivar * scale**2, _NORMAL, _LARGEST)
    with np.errstate(over="ignore", invalid="ignore"):  # in pixels that are not good
        flux, ivar = flux.astype(np.float32), ivar.astype(np.float32)
    np.copyto(flux, np.float32(0), where=~np.isfinite(flux))
    np.copyto(ivar, np.float32(0), where=~good)
    return flux, ivar, scale


def _scale(flux: np.ndarray, ivar: np.ndarray) -> float:
    """The scale of `scaled`, given the good pixels alone."""
    if not len(flux):
        return 1.0
    brightest, low, high = float(np.abs(flux).max()), float(ivar.min()), float(ivar.max())
    flux_fits = brightest == 0.0 or _NORMAL <= brightest <= _LARGEST
    if flux_fits and low >= _SMALLEST and _NORMAL <= high <= _LARGEST:
        return 1.0
    decade = np.log10(brightest) if brightest > 0.0 else -0.5 * np.log10(high)
    return float(10.0 ** np.floor(min(decade, 0.5 * (_DECADES - np.log10(high)))))
