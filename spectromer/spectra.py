"""Spectrum and SpectrumBatch. Units and air wavelengths are converted only here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError
from spectromer.grids import common_grid, log_coefficients

__all__ = ["Spectrum", "SpectrumBatch", "air_to_vacuum", "name_of"]


def air_to_vacuum(wavelength: Tensor) -> Tensor:
    """Convert air wavelengths above 2000 Angstrom to vacuum (Ciddor 1996, as inverted by N. Piskunov)."""
    air = wavelength.to(torch.float64)
    s2 = (1e4 / air) ** 2
    index = (
        1.0 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2) + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return torch.where(air > 2000.0, air * index, air)


def _plain(values: Any, unit: str | None = None) -> np.ndarray:
    """Convert a tensor, array or astropy quantity to numpy, the quantity to `unit` if one is given."""
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    if unit is not None and hasattr(values, "to_value"):
        import astropy.units as u

        return np.asarray(values.to_value(u.Unit(unit), equivalencies=u.spectral()))
    return np.asarray(getattr(values, "value", values))


def name_of(survey: str, identity: str) -> str:
    """The name of a spectrum among those of all surveys, such as "SDSS-0266-51602-0001"."""
    return f"{survey}-{identity}"


@dataclass(frozen=True)
class Spectrum:
    """One spectrum.

    Attributes
    ----------
    flux : Tensor [N] float32
        Flux density in the unit of the survey.
    ivar : Tensor [N] float32
        Inverse variance of the flux. 0 marks a masked pixel; there is no separate mask.
    wavelength : Tensor [N] float64
        Vacuum wavelength in Angstrom, increasing.
    survey, id : str
        Name of the survey, and identifier of the spectrum within it.
    labels : dict
        Known labels: class, subclass, z, z_err, zwarning, snr, ra, dec, teff, logg, feh and others of
        `spectromer.labels.LABELS`.
    """

    flux: Tensor
    ivar: Tensor
    wavelength: Tensor
    survey: str = ""
    id: str = ""
    labels: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.flux.shape[0]

    @property
    def name(self) -> str:
        """The survey and the identity there, such as "SDSS-0266-51602-0001"; see `name_of`."""
        return name_of(self.survey, self.id)

    @property
    def snr(self) -> float:
        """Median signal-to-noise ratio of the good pixels, 0 if there are none."""
        flux, ivar = self.flux.numpy(), self.ivar.numpy()
        good = ivar > 0
        return float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0

    @classmethod
    def from_arrays(cls, flux: Any, ivar: Any, wavelength: Any, *, air: bool = False, **named: Any) -> "Spectrum":
        """Build from numpy arrays, tensors or astropy quantities.

        Parameters
        ----------
        flux, ivar, wavelength : array-like [N]
            Flux density, its inverse variance, and the wavelength. A wavelength without a unit is in Angstrom. If the
            wavelengths decrease, as along a frequency axis, all three arrays are reversed. Pixels whose flux or ivar is
            not finite, or whose ivar is negative, are masked.
        air : bool
            Whether `wavelength` is in air.
        **named
            The attributes survey, id and labels.

        Raises
        ------
        ArgumentError
            If the shapes differ, or if wavelength is not strictly monotonic.
        """
        f, v, w = _plain(flux).astype(np.float32), _plain(ivar).astype(np.float32), _plain(wavelength, "Angstrom")
        if not (f.ndim == 1 and f.shape == v.shape == w.shape):
            raise ArgumentError(
                f"flux, ivar and wavelength must have the same shape [N], got {f.shape}, {v.shape} and {w.shape}"
            )
        if w.size > 1 and w[0] > w[-1]:
            f, v, w = f[::-1], v[::-1], w[::-1]
        w = w.astype(np.float64)
        if not (np.isfinite(w[:1]).all() and np.isfinite(w[-1:]).all() and (w[1:] > w[:-1]).all()):
            raise ArgumentError("wavelength must be finite and strictly increasing or decreasing")
        finite = np.isfinite(f)
        good = finite & np.isfinite(v) & (v > 0)
        wave = torch.from_numpy(w)
        return cls(
            flux=torch.from_numpy(np.where(finite, f, np.float32(0))),
            ivar=torch.from_numpy(np.where(good, v, np.float32(0))),
            wavelength=air_to_vacuum(wave) if air else wave,
            **named,
        )

    @classmethod
    def from_specutils(cls, spectrum: Any, **named: Any) -> "Spectrum":
        """Build from a one-dimensional specutils `Spectrum` (or `Spectrum1D`) with its uncertainty and mask.

        Without an uncertainty, ivar is 1.
        """
        from astropy.nddata import InverseVariance

        flux = _plain(spectrum.flux)
        ivar = np.ones_like(flux)
        if spectrum.uncertainty is not None:
            ivar = np.array(_plain(spectrum.uncertainty.represent_as(InverseVariance).array))
        if spectrum.mask is not None:
            ivar = np.where(spectrum.mask, 0.0, ivar)
        return cls.from_arrays(flux, ivar, spectrum.spectral_axis, **named)


def _place(wavelengths: Sequence[Tensor]) -> tuple[Tensor, Sequence[int]] | None:
    """Find a common grid [N] of all wavelengths, and the index at which each begins; None if there is none."""
    if not wavelengths:
        return None
    if all(torch.equal(w, wavelengths[0]) for w in wavelengths):
        return wavelengths[0].clone(), [0] * len(wavelengths)
    coefficients = [log_coefficients(w.numpy()) for w in wavelengths]
    coeff0, coeff1 = np.array([c or (np.nan, np.nan) for c in coefficients]).T
    grid = common_grid(coeff0, coeff1, [len(w) for w in wavelengths])
    return (torch.from_numpy(grid.wavelength), grid.starts(coeff0).tolist()) if grid is not None else None


@dataclass(frozen=True)
class SpectrumBatch:
    """A batch of spectra, padded to the same length.

    Attributes
    ----------
    flux, ivar : Tensor [B, N] float32
        As in `Spectrum`. Shorter spectra are padded with ivar 0.
    wavelength : Tensor [N] or [B, N] float64
        Vacuum wavelength in Angstrom, increasing also over the padding. It is shared, [N], if all spectra lie on one
        grid; resampling is then several times faster.
    ids, surveys : list of str
        Identifier and survey of each spectrum.
    labels : list of dict
        Labels of each spectrum, as in `Spectrum`.
    """

    flux: Tensor
    ivar: Tensor
    wavelength: Tensor
    ids: list[str] = field(default_factory=list)
    surveys: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.flux.shape[0]
        for name, missing in (("ids", ""), ("surveys", "")):
            if not getattr(self, name):
                object.__setattr__(self, name, [missing] * count)
        if not self.labels:
            object.__setattr__(self, "labels", [{} for _ in range(count)])

    @classmethod
    def from_spectra(cls, spectra: Sequence[Spectrum]) -> "SpectrumBatch":
        """Stack spectra of any lengths and grids.

        If all lie on one log-linear grid, as the spectra of SDSS and LAMOST do, they are placed on that grid and padded
        on both sides.
        """
        placed = _place([s.wavelength for s in spectra])
        if placed is not None:
            wavelength, starts = placed
            flux, ivar = torch.zeros(2, len(spectra), len(wavelength))
            for row, (start, s) in enumerate(zip(starts, spectra, strict=True)):
                flux[row, start : start + len(s)], ivar[row, start : start + len(s)] = s.flux, s.ivar
            return cls._labelled(flux, ivar, wavelength, spectra)
        pixels = max((len(s) for s in spectra), default=0)
        flux = torch.zeros(len(spectra), pixels)
        ivar = torch.zeros(len(spectra), pixels)
        wavelength = torch.zeros(len(spectra), pixels, dtype=torch.float64)
        for row, s in enumerate(spectra):
            n = len(s)
            flux[row, :n], ivar[row, :n], wavelength[row, :n] = s.flux, s.ivar, s.wavelength
            if n < pixels:
                step = s.wavelength[-1] - s.wavelength[-2] if n > 1 else 1.0
                wavelength[row, n:] = s.wavelength[-1] + step * torch.arange(1, pixels - n + 1)
        return cls._labelled(flux, ivar, wavelength, spectra)

    @classmethod
    def from_specutils(cls, spectra: Iterable[Any]) -> "SpectrumBatch":
        """Stack the spectra of a specutils `SpectrumList` or of any other iterable; see `Spectrum.from_specutils`."""
        return cls.from_spectra([Spectrum.from_specutils(spectrum) for spectrum in spectra])

    @classmethod
    def _labelled(cls, flux: Tensor, ivar: Tensor, wavelength: Tensor, spectra: Sequence[Spectrum]) -> "SpectrumBatch":
        return cls(
            flux, ivar, wavelength, [s.id for s in spectra], [s.survey for s in spectra], [s.labels for s in spectra]
        )

    def __len__(self) -> int:
        return self.flux.shape[0]

    def __iter__(self) -> Iterator[Spectrum]:
        return (self.spectrum(i) for i in range(len(self)))

    def spectrum(self, i: int) -> Spectrum:
        """Return spectrum `i`, including its padding."""
        wavelength = self.wavelength if self.wavelength.ndim == 1 else self.wavelength[i]
        return Spectrum(self.flux[i], self.ivar[i], wavelength, self.surveys[i], self.ids[i], self.labels[i])

    def select(self, rows: Sequence[int]) -> "SpectrumBatch":
        """Return the spectra at `rows`, in that order."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return SpectrumBatch(
            self.flux[index],
            self.ivar[index],
            self.wavelength if self.wavelength.ndim == 1 else self.wavelength[index],
            [self.ids[i] for i in rows],
            [self.surveys[i] for i in rows],
            [self.labels[i] for i in rows],
        )

    def to(self, device: torch.device | str) -> "SpectrumBatch":
        """Return the batch with its tensors on `device`. Copies from pinned memory to a GPU are asynchronous."""
        non_blocking = torch.device(device).type == "cuda"
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "SpectrumBatch":
        """Return the batch in pinned memory; torch's DataLoader calls this."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "SpectrumBatch":
        return replace(self, flux=change(self.flux), ivar=change(self.ivar), wavelength=change(self.wavelength))
