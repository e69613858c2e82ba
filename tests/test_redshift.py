"""The redshift head: a cross-correlation along the wavelength axis, and the numbers of its distribution."""

import math

import pytest
import torch

from spectromer.ops.picture import Picture
from spectromer.redshift import _BINS_PER_PIXEL, LogAxis, RedshiftHead


def axis() -> LogAxis:
    found = LogAxis.of(Picture.of("panels", 64, panels=4), (4, 4), 16)
    assert found is not None and found.pixels == 256
    return found


def test_the_redshift_head_is_a_cross_correlation() -> None:
    """Against the sum written out, for every shift; and a shifted spectrum shifts the answer."""
    torch.manual_seed(0)
    head = RedshiftHead(8, axis(), highest=0.5, templates=2)
    tokens = torch.randn(1, 16, 8)
    features = head._sequence(head.unfold(head.norm(tokens)))[0]
    want = torch.zeros(head.bins)
    for k in range(head.bins):
        window = head.kernel[:, head.bins - k : head.bins - k + 256 * _BINS_PER_PIXEL]
        want[k] = 0.1 * (features * window).sum()
    torch.testing.assert_close(head(tokens, torch.zeros(1, 8))[0], want, rtol=1e-4, atol=1e-5)


def test_tokens_unfold_in_the_order_of_wavelength() -> None:
    """Sample p of the axis comes from panel p // (4 n), token (p % 4 n) // n, sample p % n, with n samples a token."""
    n = 16 * _BINS_PER_PIXEL
    for stacked in (True, False):
        a = LogAxis(rows=4, columns=4, panels=4 if stacked else 2, stacked=stacked, patch=16, step=1e-3)
        head = RedshiftHead(8, a, highest=0.5, templates=1)
        unfolded = torch.arange(16.0)[:, None] * 1000 + torch.arange(float(n if stacked else 2 * n))
        got = head._sequence(unfolded[None])[0, 0]
        assert len(got) == a.pixels * _BINS_PER_PIXEL
        for p in range(len(got)):
            panel, token, sample = p // (4 * n), (p % (4 * n)) // n, p % n
            if stacked:
                want = 1000.0 * (panel * 4 + token) + sample
            else:
                want = 1000.0 * (sum(row * 4 + token for row in range(4)) / 4) + panel * n + sample
            assert float(got[p]) == pytest.approx(want)


def test_the_loss_is_least_at_the_label() -> None:
    head = RedshiftHead(8, axis(), highest=0.5)
    z = torch.tensor([0.2345])
    position = (math.log1p(0.2345) + 0.01) / head.step
    p = torch.full((1, head.bins), 1e-12, dtype=torch.float64)
    p[0, int(position)], p[0, int(position) + 1] = 1 - position % 1, position % 1
    exact = head.loss(p.log(), z)
    assert float(exact) == pytest.approx(float(-(p[p > 0.01] * p[p > 0.01].log()).sum()), rel=1e-3)
    assert float(head.loss(p.roll(2, 1).log(), z)) > float(exact) + 5.0
    assert float(head.estimate(p.log())["z"]) == pytest.approx(0.2345, abs=1e-4)


@pytest.mark.parametrize("bins_wide", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.5])
def test_a_normal_distribution_comes_back(bins_wide: float, at: float) -> None:
    """Shared between bins as in training: its mean, and the bounds of 68 % and 95 %."""
    head = RedshiftHead(8, None, highest=3.0)
    mean, sigma = head.centres[700] + at * head.step, bins_wide * head.step
    x = mean + sigma * torch.linspace(-6.0, 6.0, 20001, dtype=torch.float64)
    density = torch.exp(-0.5 * ((x - mean) / sigma) ** 2)
    shares = (1.0 - ((x[:, None] - head.centres) / head.step).abs()).clamp(min=0.0)
    p = (density[:, None] * shares).sum(0, keepdim=True)
    found = {name: float(torch.log1p(v)) for name, v in head.estimate((p / p.sum()).log()).items() if name != "z_peak"}
    if bins_wide <= 1.0:
        assert found["z"] == pytest.approx(float(mean), abs=0.01 * head.step)
    for name, width in (("z_lo68", -0.99446), ("z_hi68", 0.99446), ("z_lo95", -1.95996), ("z_hi95", 1.95996)):
        assert (found[name] - float(mean)) / float(sigma) == pytest.approx(width, abs=0.03), name


def test_two_peaks_share_the_intervals() -> None:
    head = RedshiftHead(8, None, highest=3.0)
    p = torch.full((1, head.bins), 1e-15, dtype=torch.float64)
    p[0, 200], p[0, 900] = 0.6, 0.4
    found = {name: float(v) for name, v in head.estimate(p.log()).items()}
    low, high = float(torch.expm1(head.centres[200])), float(torch.expm1(head.centres[900]))
    assert found["z"] == pytest.approx(low, abs=1e-3) and found["z_peak"] == pytest.approx(0.6, abs=1e-6)
    assert found["z_lo68"] == pytest.approx(low, abs=2e-3) and found["z_hi68"] == pytest.approx(high, abs=4e-3)
    assert found["z_err"] == pytest.approx(0.5 * (high - low), abs=4e-3)
