"""The specification of `spectromer.ops.chisquare`: a least-squares fit at each shift, in float64 numpy."""

import numpy as np

__all__ = ["chi_square"]


def chi_square(
    flux: np.ndarray,
    ivar: np.ndarray,
    templates: np.ndarray,
    first: int,
    shifts: tuple[int, int],
    polynomials: np.ndarray | None = None,
    coverage: float = 0.8,
) -> np.ndarray:
    """Chi-square of one spectrum [N] at every shift, [S], by a least-squares fit at each; see ops/chisquare.py."""
    fixed = np.zeros((0, len(flux))) if polynomials is None else polynomials
    pixel, found = np.arange(len(flux)), np.full(shifts[1] - shifts[0] + 1, np.inf)
    for i, shift in enumerate(range(shifts[0], shifts[1] + 1)):
        at = pixel - shift - first
        used = (ivar > 0) & (at >= 0) & (at < templates.shape[1])
        root = np.sqrt(ivar[used])
        columns = np.concatenate([templates[:, at[used]], fixed[:, used]]) * root
        if used.sum() <= len(columns) or ivar[used].sum() < coverage * ivar.sum() * (1 - 1e-6):
            continue
        amplitudes = np.linalg.lstsq(columns.T, root * flux[used])[0]
        left = root * flux[used] - amplitudes @ columns
        found[i] = (left**2).sum() * (ivar > 0).sum() / used.sum()
    return found
