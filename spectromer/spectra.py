"""Spectrum and SpectrumBatch. Units and air wavelengths are converted only here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.arrays import inverse_variance, plain, scaled, wavelength_of
from spectromer.errors import ArgumentError
from spectromer.extension import _C
from spectromer.grids import common_grid, extended, log_coefficients
from spectromer.markup import html_table, sparkline
from spectromer.words import count

__all__ = ["Spectrum", "SpectrumBatch", "air_to_vacuum", "name_of"]


_SHOWN = ("class", "subclass", "z", "teff", "logg", "feh")  # labels that notebooks show
_MOST_ROWS = 10  # spectra of a batch that notebooks show


def air_to_vacuum(wavelength: Tensor) -> Tensor:
    """Convert air wavelengths above 2000 Angstrom to vacuum (Ciddor 1996, as inverted by N. Piskunov)."""
    air = wavelength.to(torch.float64)
    s2 = (1e4 / air) ** 2
    index = (
        1.0 + 8.336624212083e-5 + 2.408926869968e-2 / (130.1065924522 - s2) + 1.599740894897e-4 / (38.92568793293 - s2)
    )
    return torch.where(air > 2000.0, air * index, air)


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
    flux_scale : float
        The factor that was taken out of flux and ivar so that single precision can hold them: the flux density is
        flux * flux_scale, and its inverse variance ivar / flux_scale**2. It is 1 for the units of all surveys.
    """

    flux: Tensor
    ivar: Tensor
    wavelength: Tensor
    survey: str = ""
    id: str = ""
    labels: dict[str, Any] = field(default_factory=dict)
    flux_scale: float = 1.0

    def __len__(self) -> int:
        return self.flux.shape[0]

    @property
    def name(self) -> str:
        """The survey and the identity there, such as "SDSS-0266-51602-0001"; see `name_of`."""
        return name_of(self.survey, self.id)

    @property
    def snr(self) -> float:
        """Median signal-to-noise ratio of the good pixels, 0 if there are none."""
        flux, ivar = (values.detach().cpu().float().contiguous() for values in (self.flux, self.ivar))
        return _C.median_snr(flux.data_ptr(), ivar.data_ptr(), len(self))

    def _repr_html_(self) -> str:
        flux, ivar, wavelength = (
            values.detach().cpu().double().numpy() for values in (self.flux, self.ivar, self.wavelength)
        )
        row = {"pixels": len(self), "good": int((ivar > 0).sum()), "median S/N": round(self.snr, 2)}
        known = {name: self.labels[name] for name in _SHOWN if name in self.labels}
        image = sparkline(flux, ivar > 0, wavelength)
        return html_table(f"Spectrum {self.survey} {self.id}".strip(), [row | known], below=image)

    @classmethod
    def from_arrays(
        cls, flux: Any, ivar: Any, wavelength: Any, *, mask: Any = None, air: bool = False, **named: Any
    ) -> "Spectrum":
        """Build from numpy arrays, tensors, table columns or astropy quantities.

        Pixels whose flux or ivar is masked or not finite, or whose ivar is not positive, get an ivar of 0. Pixels whose
        wavelength is masked are left out. If the wavelengths decrease, as along a frequency axis, all arrays are
        reversed. If flux or ivar exceeds the range of single precision, as a flux in erg/s/cm2/Angstrom may, the flux
        is divided by a power of ten, which is kept as `flux_scale`.

        Parameters
        ----------
        flux : array-like [N]
            Flux density. Its unit is not converted.
        ivar : array-like [N], or an uncertainty of `astropy.nddata`, or None
            Inverse variance of the flux. A unit must be equivalent to that of the flux; an array without a unit is in
            that of the flux. None stands for an unknown uncertainty: ivar is then 1.
        wavelength : array-like [N]
            Wavelength in any unit, or frequency, energy or wave number; an array without a unit is in Angstrom.
        mask : array-like [N], optional
            True, or any other number than 0, for bad pixels, in addition to the masks of the arrays.
        air : bool
            Whether `wavelength` is in air.
        **named
            The attributes survey, id and labels.

        Raises
        ------
        ArgumentError
            If the shapes differ, if a unit does not fit, or if wavelength is not strictly monotonic.
        """
        f, axis = plain(flux, "flux"), plain(wavelength, "wavelength")
        w = wavelength_of(axis)
        v = inverse_variance(ivar, f, w)
        if not (f.values.ndim == 1 and f.values.shape == v.values.shape == w.shape):
            raise ArgumentError(
                "flux, ivar and wavelength must have the same shape [N], "
                f"got {f.values.shape}, {v.values.shape} and {w.shape}"
            )
        good = f.good & v.good & (v.values > 0)
        if mask is not None:
            bad = plain(mask, "mask")
            if bad.values.shape != w.shape:
                raise ArgumentError(f"mask must have the shape of flux, {w.shape}, got {bad.values.shape}")
            good &= (bad.values == 0) & bad.good
        flux32, ivar32, scale = scaled(f.values, v.values, good)
        there = None if axis.mask is None or not axis.mask.any() else ~axis.mask
        if there is not None:
            flux32, ivar32, w = flux32[there], ivar32[there], w[there]
        if w.size > 1 and w[0] > w[-1]:
            flux32, ivar32, w = (np.ascontiguousarray(values[::-1]) for values in (flux32, ivar32, w))
        if not (np.isfinite(w[:1]).all() and np.isfinite(w[-1:]).all() and (w[1:] > w[:-1]).all()):
            raise ArgumentError("wavelength must be finite and strictly increasing or decreasing")
        if (w[:1] <= 0).any():
            raise ArgumentError(f"wavelength must be above 0, got {w[0]:g}")
        wave = torch.from_numpy(w)
        return cls(
            flux=torch.from_numpy(flux32),
            ivar=torch.from_numpy(ivar32),
            wavelength=air_to_vacuum(wave) if air else wave,
            flux_scale=scale,
            **named,
        )

    @classmethod
    def from_specutils(cls, spectrum: Any, **named: Any) -> "Spectrum":
        """Build from a one-dimensional specutils `Spectrum` (or `Spectrum1D`) with its uncertainty and mask.

        Without an uncertainty, ivar is 1. See `from_arrays` for units, and for the errors raised.
        """
        return cls.from_arrays(spectrum.flux, spectrum.uncertainty, spectrum.spectral_axis, mask=spectrum.mask, **named)


def _each_specutils(spectra: Any) -> Iterator[Spectrum]:
    """The spectra in an object of specutils, or in an iterable of them."""
    if not hasattr(spectra, "spectral_axis"):
        for part in spectra:
            yield from _each_specutils(part)
        return
    flux, axis, uncertainty, mask = spectra.flux, spectra.spectral_axis, spectra.uncertainty, spectra.mask
    along = getattr(spectra, "spectral_axis_index", None)
    along = flux.ndim - 1 if along is None else along
    for place in np.ndindex(*flux.shape[:along], *flux.shape[along + 1 :]):
        at = (*place[:along], slice(None), *place[along:])
        yield Spectrum.from_arrays(
            flux[at],
            None if uncertainty is None else uncertainty[at],
            axis[at] if axis.ndim == flux.ndim else axis,
            mask=None if mask is None else mask[at],
        )


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
    flux_scale : list of float
        The factor of each spectrum's flux, as in `Spectrum`.
    """

    flux: Tensor
    ivar: Tensor
    wavelength: Tensor
    ids: list[str] = field(default_factory=list)
    surveys: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    flux_scale: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = self.flux.shape[0]
        for name, missing in (("ids", ""), ("surveys", ""), ("flux_scale", 1.0)):
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
            flux[row, :n], ivar[row, :n] = s.flux, s.ivar
            wavelength[row] = torch.from_numpy(extended(s.wavelength.numpy(), pixels))
        return cls._labelled(flux, ivar, wavelength, spectra)

    @classmethod
    def from_specutils(cls, spectra: Any) -> "SpectrumBatch":
        """Stack specutils spectra, each as by `Spectrum.from_specutils`.

        Parameters
        ----------
        spectra : specutils Spectrum, SpectrumCollection or SpectrumList, or an iterable of them
            A Spectrum of several dimensions counts as one spectrum for each position along the other axes.
        """
        return cls.from_spectra(list(_each_specutils(spectra)))

    @classmethod
    def _labelled(cls, flux: Tensor, ivar: Tensor, wavelength: Tensor, spectra: Sequence[Spectrum]) -> "SpectrumBatch":
        return cls(
            flux,
            ivar,
            wavelength,
            [s.id for s in spectra],
            [s.survey for s in spectra],
            [s.labels for s in spectra],
            [s.flux_scale for s in spectra],
        )

    def __len__(self) -> int:
        return self.flux.shape[0]

    def _repr_html_(self) -> str:
        rows: list[dict[str, Any]] = []
        for i in range(min(len(self), _MOST_ROWS)):
            one = self.spectrum(i)
            known = {name: one.labels[name] for name in _SHOWN if name in one.labels}
            good = int((one.ivar > 0).sum())
            rows.append({"survey": one.survey, "id": one.id, "good": good, "median S/N": round(one.snr, 2)} | known)
        axis = "one grid" if self.wavelength.ndim == 1 else "grids of their own"
        title = f"SpectrumBatch: {count(len(self), 'spectrum')} of {self.flux.shape[1]} pixels on {axis}"
        return html_table(f"{title}, {self.flux.device}", rows, len(self) - len(rows))

    def __iter__(self) -> Iterator[Spectrum]:
        return (self.spectrum(i) for i in range(len(self)))

    def spectrum(self, i: int) -> Spectrum:
        """Return spectrum `i`, including its padding."""
        wavelength = self.wavelength if self.wavelength.ndim == 1 else self.wavelength[i]
        named = (self.surveys[i], self.ids[i], self.labels[i], self.flux_scale[i])
        return Spectrum(self.flux[i], self.ivar[i], wavelength, *named)

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
            [self.flux_scale[i] for i in rows],
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
