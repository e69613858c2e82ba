"""Regions are lines that are found, or windows; bins in them are marked."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum
from spectromer.regions import find_lines, mark_regions


def test_lines_are_found_as_the_thesis_finds_them(whole: list[Spectrum]) -> None:
    """A walk from pixel to pixel marks the same ones."""
    from scipy.signal import savgol_filter

    rng = np.random.default_rng(0)
    for s in whole:
        w, f = s.wavelength.numpy(), s.flux.double().numpy() + 3.0 * rng.normal(size=len(s))
        smooth = savgol_filter(f, 25, 3)
        regions, begin = [], None
        for i in range(len(f) + 1):
            inside = False
            if 25 <= i <= len(f) - 25:
                inside = abs(smooth[i] - np.median(smooth[i - 25 : i + 25])) > 1.5
            if inside and begin is None:
                begin = i
            elif not inside and begin is not None:
                medians = np.array([np.median(smooth[k - 25 : k + 25]) for k in range(begin, i)])
                depth = (smooth[begin:i] - medians) / medians
                regions.append((abs(np.trapezoid(depth, w[begin:i])), begin, i))
                begin = None
        want = np.zeros(len(f), bool)
        for _, a, b in sorted(regions, reverse=True)[:50]:
            want[a:b] = True
        assert want.any()
        np.testing.assert_array_equal(find_lines(f, np.ones(len(f)), w), want)
        masked = rng.random(len(f)) < 0.05
        junk = np.where(masked, 1e6, f)
        found = find_lines(junk, np.where(masked, 0.0, 1.0), w)
        assert not found[masked].any()
        np.testing.assert_array_equal(found[~masked], find_lines(f[~masked], np.ones((~masked).sum()), w[~masked]))


def test_few_good_pixels_have_no_lines() -> None:
    """The running median needs one more pixel."""
    flux = np.ones(60)
    flux[30] = 50.0
    good = (np.arange(60) < 49).astype(float)
    assert not find_lines(flux, good, np.linspace(4000.0, 5000.0, 60)).any()


@pytest.mark.parametrize("own", [False, True])
def test_windows_are_marked_with_their_ends(own: bool) -> None:
    wavelength = torch.linspace(4000.0, 5000.0, 11, dtype=torch.float64)
    flux, ivar = torch.ones(2, 11), torch.ones(2, 11)
    windows = ((4100.0, 4300.0), (4890.0, 4910.0))
    if own:
        marks = mark_regions(flux, ivar, wavelength, None, windows)
        assert marks is not None and marks.shape == (2, 11)
        assert marks[0].nonzero()[:, 0].tolist() == marks[1].nonzero()[:, 0].tolist() == [1, 2, 3, 9]
    else:
        marks = mark_regions(flux, ivar, wavelength, torch.tensor([4099.0, 4100.0, 4900.0]), windows)
        assert marks is not None and marks.tolist() == [False, True, True]
    assert mark_regions(flux, ivar, wavelength, None, None) is None


def test_a_bin_is_marked_as_the_pixel_at_its_centre(whole: list[Spectrum]) -> None:
    s = whole[0]
    flux = s.flux + 3.0 * torch.randn(len(s), generator=torch.Generator().manual_seed(0))
    spectra = flux[None], torch.ones(1, len(s)), s.wavelength
    pixels = mark_regions(*spectra, None, "lines")
    assert pixels is not None and bool(pixels.any())
    grid = torch.cat((s.wavelength[:1] - 50.0, s.wavelength[100:200] + 0.1, s.wavelength[-1:] + 50.0))
    bins = mark_regions(*spectra, grid, "lines")
    assert bins is not None and torch.equal(bins[0, 1:-1], pixels[0, 100:200])
    assert not bool(bins[0, 0]) and not bool(bins[0, -1])
