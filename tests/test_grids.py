"""Logarithmic grids."""

import numpy as np

from spectromer.grids import common_grid, log_coefficients, log_grid


def test_logarithmic_grids() -> None:
    grid = log_grid(3.5526, 1e-4, 4620)
    np.testing.assert_allclose(grid, 10.0 ** (3.5526 + 1e-4 * np.arange(4620)), rtol=1e-14)
    assert np.array_equal(log_grid(3.5, 1e-4, 4620, start=526), grid)  # equal to the last bit on the surveys' pixels
    assert log_coefficients(grid) == (3.5526, 1e-4)
    assert log_coefficients(grid[100:]) == (3.5626, 1e-4)
    odd = 10.0 ** (3.55261234567 + 1.234567e-4 * np.arange(1000))
    coeff0, coeff1 = log_coefficients(odd) or (0.0, 0.0)
    np.testing.assert_allclose(log_grid(coeff0, coeff1, 1000), odd, rtol=1e-12)
    assert log_coefficients(np.linspace(3600.0, 9000.0, 1000)) is None
    assert log_coefficients(grid[:1]) is None
    common = common_grid([3.5526, 3.5682], [1e-4, 1e-4], [4620, 3909])
    assert common is not None and (common.coeff0, common.pixels) == (3.5526, 4620)
    assert common.starts(np.array([3.5682])).tolist() == [156]
    assert common_grid([3.5526, 3.55265], [1e-4, 1e-4], [4620, 4620]) is None  # half a pixel off
    assert common_grid([3.5526, 4.5], [1e-4, 1e-4], [4620, 4620]) is None  # far apart
    assert common_grid([3.5526, np.nan], [1e-4, np.nan], [10, 10]) is None
