"""The Multimodal Universe: its HDF5 files and the rows of its datasets."""

from pathlib import Path

import numpy as np
import pytest
import torch

import spectromer
from spectromer import Spectrum
from spectromer.surveys.multimodal import from_multimodal


def test_multimodal_universe_files_and_rows(sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path) -> None:
    """As its scripts write them: padded, wavelengths in single precision, flags; LAMOST without ivar."""
    h5py = pytest.importorskip("h5py")
    made = sdss[:3]
    pixels = len(made[0]) + 5

    def padded(values: list[torch.Tensor], fill: float) -> np.ndarray:
        return np.stack([np.pad(v.numpy(), (0, pixels - len(v)), constant_values=fill) for v in values])

    wavelength = padded([s.wavelength for s in made], -1.0).astype(np.float32)
    with h5py.File(tmp_path / "sdss.hdf5", "w") as file:
        file["object_id"] = np.array([b"11", b"12", b"13"])
        file["spectrum_flux"] = padded([s.flux for s in made], 7.0)
        file["spectrum_ivar"] = padded([torch.ones(len(s)) for s in made], 0.0)
        file["spectrum_mask"] = padded([s.ivar for s in made], 0.0) == 0
        file["spectrum_lambda"] = wavelength
        file["Z"], file["Z_ERR"] = [s.labels["z"] for s in made], np.full(3, 0.01)
        file["ZWARNING"], file["CLASS"] = np.zeros(3, int), np.array([s.labels["class"].encode() for s in made])
        file["ra"], file["dec"] = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    with h5py.File(tmp_path / "lamost.h5", "w") as file:
        file["object_id"] = file["obsid"] = [101, 102]
        file["spectrum_flux"] = np.stack([s.flux.numpy() for s in lamost[:2]])
        file["spectrum_wavelength"] = np.stack([s.wavelength.numpy() for s in lamost[:2]]).astype(np.float32)
        file["teff"], file["snrg"] = [5000.0, -9999.0], [10.0, 20.0]
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["image"] = np.zeros(3)
    (tmp_path / "torn.hdf5").write_bytes((tmp_path / "sdss.hdf5").read_bytes()[:3000])
    batch, rejected = spectromer.read([tmp_path / "sdss.hdf5"])
    assert not rejected and batch.ids == ["11", "12", "13"] and batch.surveys == ["SDSS"] * 3
    for row, want in zip(batch, made, strict=True):
        torch.testing.assert_close(row.wavelength, want.wavelength, rtol=1e-12, atol=0)
        assert torch.equal(row.flux, want.flux) and torch.equal(row.ivar > 0, want.ivar > 0)
        assert row.labels["z"] == want.labels["z"] and row.labels["class"] == want.labels["class"]
    batch, rejected = spectromer.read(tmp_path)
    assert batch.surveys == ["LAMOST"] * 2 + ["SDSS"] * 3 and batch.ids[:2] == ["101", "102"]
    assert {Path(e.path).name for e in rejected} == {"other.hdf5", "torn.hdf5"}
    assert batch.labels[0]["teff"] == 5000.0 and batch.labels[1]["snr_g"] == 20.0 and "teff" not in batch.labels[1]

    row = {"flux": [1.0, 2.0, 3.0], "ivar": [1.0, 1.0, 1.0], "lambda": [3600.0, 3600.8, 3601.6]}
    found = from_multimodal(
        {"spectrum": row | {"mask": [False, True, False]}, "ZWARN": False, "z": 0.5, "object_id": "5"}
    )
    assert found.survey == "DESI" and found.ivar.tolist() == [1.0, 0.0, 1.0] and found.labels["zwarning"] == 1
    with pytest.raises(ValueError, match="a spectrum needs flux and lambda, this has flux"):
        from_multimodal({"spectrum_flux": [1.0]})


PIXELS = {"flux": [1.0] * 9, "ivar": [4.0] * 9, "lambda": [4000.0 + i for i in range(9)]}


def test_a_flag_means_what_its_dataset_says() -> None:
    """ZWARNING = bool(flag) in the dataset of SDSS, ZWARN = not bool(flag) in that of DESI; numbers are flags."""
    for flag, sdss, desi in ((False, 0, 1), (True, 1, 0), (np.bool_(True), 1, 0), (4, 4, 4), (0, 0, 0)):
        found = from_multimodal({"spectrum": PIXELS, "ZWARNING": flag, "Z": 0.5})
        assert (found.survey, found.labels["zwarning"], found.labels["z"]) == ("SDSS", sdss, 0.5)
        assert from_multimodal({"spectrum": PIXELS, "ZWARN": flag}).labels["zwarning"] == desi


def test_a_row_without_a_mark_is_of_no_survey() -> None:
    found = from_multimodal({"spectrum": PIXELS, "object_id": 7, "redshift": 0.5, "class": "galaxy"})
    assert (found.survey, found.id, found.labels["z"], found.labels["class"]) == ("", "7", 0.5, "GALAXY")


@pytest.mark.parametrize(
    "name", ["b' 461628614023079936'", 'b"461628614023079936 "', b" 461628614023079936", 461628614023079936]
)
def test_identities_in_every_form(name: object) -> None:
    assert from_multimodal({"spectrum": PIXELS, "object_id": name}).id == "461628614023079936"


def test_one_odd_row_costs_that_row(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["object_id"], file["ZWARNING"] = [1, 2, 3], [0.0, 0.5, 0.0]
        for name, values in PIXELS.items():
            file[f"spectrum_{name}"] = np.array([values] * 3)
    batch, rejected = spectromer.read(tmp_path / "a.hdf5")
    assert batch.ids == ["1", "3"]
    assert [error.reason for error in rejected] == ["row 1: its zwarning must be a whole number of 64 bits, got 0.5"]
