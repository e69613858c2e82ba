"""The redshift head is a cross-correlation along the wavelength axis; its distribution gives the numbers."""

import math

import pytest
import torch

from spectromer.learning.redshift import COARSE_EDGES, LogAxis, RedshiftDistribution, RedshiftHead, _Correlation
from spectromer.picture import Picture


def axis() -> LogAxis:
    found = LogAxis.of(Picture.of("panels", 64, panels=4), (4, 4), 16)
    assert found is not None and found.pixels == 256
    return found


def test_the_redshift_head_is_a_cross_correlation() -> None:
    """The answer is the sum written out, for every shift."""
    torch.manual_seed(0)
    head = RedshiftHead(8, axis(), highest=0.5, templates=2)
    tokens = torch.randn(1, 16, 8)
    features = head._sequence(head.unfold(head.norm(tokens)))[0]
    want = torch.zeros(head.bins)
    for k in range(head.bins):
        window = head.kernel[:, head.bins - k : head.bins - k + 256 * axis().samples]
        want[k] = 0.1 * (features * window).sum()
    torch.testing.assert_close(head(tokens, torch.zeros(1, 8))[0], want, rtol=1e-4, atol=1e-5)


def test_the_gradients_of_the_cross_correlation() -> None:
    """They are those of the sum written out."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 2, 37, generator=generator, requires_grad=True)
    kernel = torch.randn(2, 37 + 23, generator=generator, requires_grad=True)
    want = torch.stack([(features * kernel[:, 23 - k : 60 - k]).sum((1, 2)) for k in range(23)], 1)
    found = _Correlation.apply(features, kernel)
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
    weights = torch.randn(3, 23, generator=generator)
    for got, true in zip(*(torch.autograd.grad(y, (features, kernel), weights) for y in (found, want)), strict=True):
        torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-5)


def test_tokens_unfold_in_the_order_of_wavelength() -> None:
    """With n samples a token, sample p of the axis is sample p % n of token (p % 4 n) // n of panel p // (4 n)."""
    n = 16 * axis().samples
    for stacked in (True, False):
        a = LogAxis(rows=4, columns=4, panels=4 if stacked else 2, stacked=stacked, patch=16, step=1e-3)
        head = RedshiftHead(8, a, highest=0.5, templates=1)
        unfolded = torch.arange(16.0)[:, None] * 1000 + torch.arange(float(n if stacked else 2 * n))
        got = head._sequence(unfolded[None])[0, 0]
        assert len(got) == a.pixels * a.samples
        for p in range(len(got)):
            panel, token, sample = p // (4 * n), (p % (4 * n)) // n, p % n
            if stacked:
                want = 1000.0 * (panel * 4 + token) + sample
            else:
                want = 1000.0 * (sum(row * 4 + token for row in range(4)) / 4) + panel * n + sample
            assert float(got[p]) == pytest.approx(want)


def test_folded_pictures_unfold_too() -> None:
    """Squares of 2 px stand in rows of 8; a token holds four rows and columns, and a sample lies at its square."""
    a = LogAxis.of(Picture.of("folded", 16, block=2), (2, 2), 8)
    assert a is not None and (a.panels, a.patch, a.per_token, a.pixels) == (8, 4, 4, 64)
    assert a.step == pytest.approx(math.log(10000 / 3600) / 64)
    head = RedshiftHead(8, a, highest=0.5, templates=1)
    unfolded = torch.arange(4.0)[:, None] * 1000 + torch.arange(4.0 * 4 * a.samples)  # token, its rows, its columns
    got = head._sequence(unfolded[None])[0, 0].view(8, 8, a.samples)
    for row in range(8):
        for column in range(8):
            token, inside = row // 4 * 2 + column // 4, row % 4 * 4 + column % 4
            assert float(got[row, column, 0]) == 1000.0 * token + inside * a.samples
    along = a.along(torch.tensor([[0.1, 0.2, 0.3, 0.4]])).view(8, 2)
    assert along[3].tolist() == pytest.approx([0.1, 0.2]) and along[4].tolist() == pytest.approx([0.3, 0.4])
    assert LogAxis.of(Picture.of("folded", 16, block=3), (2, 2), 8) is None


def test_the_loss_is_least_at_the_label() -> None:
    head = RedshiftHead(8, axis(), highest=0.5)
    z = torch.tensor([0.2345])
    position = (math.log1p(0.2345) + 0.01) / head.step
    p = torch.full((1, head.bins), 1e-12, dtype=torch.float64)
    p[0, int(position)], p[0, int(position) + 1] = 1 - position % 1, position % 1
    exact = head.loss(p.log(), z)
    assert float(exact) == pytest.approx(float(-(p[p > 0.01] * p[p > 0.01].log()).sum()), rel=1e-3)
    assert float(head.loss(p.roll(2, 1).log(), z)) > float(exact) + 5.0
    assert float(head.distribution(p.log()).z) == pytest.approx(0.2345, abs=1e-4)


@pytest.mark.parametrize("bins_wide", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.5])
def test_a_normal_distribution_comes_back(bins_wide: float, at: float) -> None:
    """Shared between bins as in training, it keeps its mean and its bounds of 68 % and 95 %."""
    head = RedshiftHead(8, None, highest=3.0)
    mean, sigma = head.centres[700] + at * head.step, bins_wide * head.step
    x = mean + sigma * torch.linspace(-6.0, 6.0, 20001, dtype=torch.float64)
    density = torch.exp(-0.5 * ((x - mean) / sigma) ** 2)
    shares = (1.0 - ((x[:, None] - head.centres) / head.step).abs()).clamp(min=0.0)
    p = (density[:, None] * shares).sum(0, keepdim=True)
    found = RedshiftDistribution(p / p.sum(), head.step)
    if bins_wide <= 1.0:
        assert float(torch.log1p(found.z)) == pytest.approx(float(mean), abs=0.01 * head.step)
    shares = torch.tensor([[0.025, 0.16, 0.84, 0.975]], dtype=torch.float64)
    at = found.quantile(shares)
    for got, width in zip(torch.log1p(at)[0], (-1.95996, -0.99446, 0.99446, 1.95996), strict=True):
        assert (float(got) - float(mean)) / float(sigma) == pytest.approx(width, abs=0.03)
    torch.testing.assert_close(found.cdf(at), shares, rtol=0, atol=1e-9)
    assert found.cdf(torch.tensor([[math.nan, float(at[0, 1])]])).isnan().tolist() == [[True, False]]
    limit = torch.tensor([math.expm1(sigma)], dtype=torch.float64)
    if bins_wide <= 1.0:  # z of a wider distribution is that of its most probable stretch, not its middle
        assert float(found.within(limit)) == pytest.approx(0.6827, abs=0.02)


def test_two_peaks_share_the_intervals() -> None:
    head = RedshiftHead(8, None, highest=3.0)
    p = torch.full((1, head.bins), 1e-15, dtype=torch.float64)
    p[0, 200], p[0, 900] = 0.6, 0.4
    found = RedshiftDistribution(p / p.sum(), head.step)
    low, high = float(torch.expm1(head.centres[200])), float(torch.expm1(head.centres[900]))
    assert float(found.z) == pytest.approx(low, abs=1e-3)
    lo68, hi68 = found.quantile(torch.tensor([[0.16, 0.84]], dtype=torch.float64))[0].tolist()
    assert lo68 == pytest.approx(low, abs=2e-3) and hi68 == pytest.approx(high, abs=4e-3)
    assert float(found.within(torch.tensor([0.01]))) == pytest.approx(0.6, abs=1e-6)
    assert not bool(found.at_edge)
    edge = torch.full((1, 50), 1e-9, dtype=torch.float64)
    edge[0, -1] = 1.0
    assert bool(RedshiftDistribution(edge / edge.sum(), 1e-3).at_edge)


def test_coarse_stretches_add_up() -> None:
    """A star's stretch holds what is within 900 km/s of 0; beyond the last bin there is nothing."""
    head = RedshiftHead(8, None, highest=0.5)
    logits = torch.full((1, head.bins), -50.0)
    logits[0, round(0.01 / head.step)] = 0.0
    found = head.coarse_probabilities(logits)[0]
    assert found.shape == (len(COARSE_EDGES) + 1,) and float(found.sum()) == pytest.approx(1.0)
    assert float(found[1]) == pytest.approx(1.0) and float(found[-1]) == 0.0


@pytest.mark.parametrize("highest", [1.0, 2.0])
def test_follows_a_head_for_other_redshifts(highest: float) -> None:
    """Both heads say the same of the redshifts that both tell apart."""
    torch.manual_seed(0)
    axis = LogAxis(rows=4, columns=4, panels=4, stacked=True, patch=16, step=0.004)
    earlier, head = RedshiftHead(8, axis, 1.5), RedshiftHead(8, axis, highest)
    torch.nn.init.normal_(earlier.pooled.weight)
    head.load_state_dict(head.adapt_weights(earlier.state_dict()))
    tokens, pooled = torch.randn(3, 16, 8), torch.randn(3, 8)
    shared = min(head.bins, earlier.bins)
    assert head.bins != earlier.bins
    torch.testing.assert_close(
        head(tokens, pooled)[:, :shared], earlier(tokens, pooled)[:, :shared], rtol=1e-4, atol=1e-5
    )


def test_quantiles_rise_up_to_both_ends() -> None:
    """The sum of the probabilities is 1 within the peak already, as the others are too small to count."""
    widths = torch.linspace(0.2, 3.0, 50, dtype=torch.float64)[:, None]
    logits = -0.5 * ((torch.arange(400) - 200.3) / widths) ** 2
    found = RedshiftDistribution(logits.softmax(1), 1e-3).widened(2e-3)
    q = torch.tensor([0.0, 1e-12, 0.025, 0.16, 0.5, 0.84, 0.975, 1.0 - 1e-12, 1.0], dtype=torch.float64)
    assert bool((found.quantile(q.expand(50, -1)).diff(dim=1) >= 0).all())
