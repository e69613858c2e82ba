"""Sets of templates, and their safetensors file, whose metadata hold everything but the fluxes, as JSON."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectromer.errors import ArgumentError, ReadError, require
from spectromer.files import atomic

__all__ = ["DEFAULT", "TemplateSet", "load", "save"]

#: The file of the package's own templates. `benchmarks/make_templates.py` makes it.
DEFAULT = Path(__file__).with_name("default.safetensors")
_SCHEMA = "1"


@dataclass(frozen=True)
class TemplateSet:
    """Linear templates of one class of objects. The model of an object is their sum with free amplitudes.

    Attributes
    ----------
    name : str
        The class, such as "GALAXY".
    flux : Tensor [K, R]
        Flux densities of the templates, per wavelength, in any unit.
    first : int
        Template bin j has the vacuum wavelength 10 ** (step * (first + j)) Angstrom.
    z_range : (float, float)
        The lowest and the highest redshift that is tried.
    step : float
        Step of log10 of the wavelength. The default, 1e-4, is the pixel width of SDSS and LAMOST, 69 km/s.
    polynomials : int
        The number of Legendre polynomials of the logarithm of the observed wavelength that are added to the model.

    Raises
    ------
    ArgumentError
        If a shape or a range is invalid.
    """

    name: str
    flux: Tensor
    first: int
    z_range: tuple[float, float]
    step: float = 1e-4
    polynomials: int = 0

    def __post_init__(self) -> None:
        shape = tuple(self.flux.shape)
        if len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
            raise ArgumentError(f"flux of the templates {self.name!r} must have shape [K, R] with R >= 2, got {shape}")
        low, high = self.z_range
        require(
            -1.0 < low <= high < math.inf,
            f"z_range of the templates {self.name!r} must rise from above -1, got {self.z_range}",
        )
        if (
            isinstance(self.polynomials, bool)
            or not isinstance(self.polynomials, int)
            or not 0 <= self.polynomials <= 8
        ):
            raise ArgumentError(f"polynomials must be a number from 0 to 8, got {self.polynomials!r}")
        require(0.0 < self.step < 0.1, f"step of the templates {self.name!r} must lie in (0, 0.1), got {self.step}")

    def __len__(self) -> int:
        return self.flux.shape[0]

    @property
    def wavelength(self) -> Tensor:
        """Vacuum wavelengths of the template bins in Angstrom, [R] float64."""
        return 10.0 ** (self.step * (self.first + torch.arange(self.flux.shape[1], dtype=torch.float64)))

    @property
    def ln_step(self) -> float:
        """The step of ln of the wavelength."""
        return self.step * math.log(10.0)

    @property
    def shifts(self) -> tuple[int, int]:
        """The first and the last shift within `z_range`, in steps of the grid."""
        low, high = (math.log10(1.0 + z) / self.step for z in self.z_range)
        return math.ceil(low - 1e-9), max(math.ceil(low - 1e-9), math.floor(high + 1e-9))

    @property
    def z(self) -> Tensor:
        """The redshifts at the shifts, [S] float64."""
        low, high = self.shifts
        return 10.0 ** (self.step * torch.arange(low, high + 1, dtype=torch.float64)) - 1.0

    def to(self, device: torch.device | str) -> "TemplateSet":
        """Return the set with its tensor on `device`."""
        return replace(self, flux=self.flux.to(device))


def save(
    sets: Sequence[TemplateSet],
    path: str | os.PathLike[str],
    *,
    about: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write sets of templates to a safetensors file. Each template is scaled to a largest absolute value of 1.

    Parameters
    ----------
    sets : sequence of TemplateSet
    path : path-like
    about : mapping
        Information about the templates that is stored in the file, such as licence, origin and command. It must be
        representable in JSON.
    dtype : torch.dtype
        The type of the stored numbers.
    """
    from safetensors.torch import save as packed

    require(len({s.name for s in sets}) == len(sets), f"names of sets must differ, got {[s.name for s in sets]}")
    fields = [
        {"name": s.name, "first": s.first, "step": s.step, "z_range": list(s.z_range), "polynomials": s.polynomials}
        for s in sets
    ]
    header = {"schema": _SCHEMA, "about": json.dumps(dict(about)), "sets": json.dumps(fields)}
    tensors = {
        s.name: (s.flux.detach().cpu().double() / s.flux.detach().cpu().double().abs().amax(1, keepdim=True)).to(dtype)
        for s in sets
    }
    with atomic(Path(path)) as part:
        part.write_bytes(packed(tensors, header))


def load(path: str | os.PathLike[str] = DEFAULT) -> tuple[TemplateSet, ...]:
    """Read sets of templates from a file that `save` has written. The default is the file of the package.

    Returns
    -------
    tuple of TemplateSet
        The sets in the order of the file, in double precision.

    Raises
    ------
    ReadError
        If the file cannot be read, or is not a file of templates.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("schema") != _SCHEMA:
                raise ReadError(
                    path, f"must be a file of templates with schema {_SCHEMA}, got {header.get('schema')!r}"
                )
            return tuple(
                TemplateSet(
                    str(s["name"]),
                    file.get_tensor(s["name"]).double(),
                    int(s["first"]),
                    (float(s["z_range"][0]), float(s["z_range"][1])),
                    float(s["step"]),
                    int(s["polynomials"]),
                )
                for s in json.loads(header["sets"])
            )
    except (OSError, SafetensorError, KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ReadError(path, f"the templates cannot be read: {error}") from error
