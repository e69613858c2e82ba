"""The regression of scalars on features, against an exact Gaussian process."""

import math

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from spectromer.learning.heads import ScalarHead
from spectromer.learning.readout import LEAST, KernelReadout


def curved(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features [n, 6], outputs of a head that knows only the noise [n, 2], and a curved function of the features."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn((count, 6), generator=rng) * torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 3.0]) + 4.0
    sigma = 0.02 + 0.1 * torch.rand(count, generator=rng)
    x = (features - 4.0) / torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 3.0])
    value = torch.sin(x[:, 0]) + x[:, 1] * x[:, 2] + sigma * torch.randn(count, generator=rng)
    return features, torch.stack((torch.zeros(count), sigma.log()), 1), value


def test_with_all_spectra_as_centres_it_is_the_exact_gaussian_process() -> None:
    features, out, value = curved(120, 0)
    others, their_out, _ = curved(50, 1)
    readout = KernelReadout(6)
    readout.fit(features, out, value)
    found = readout(others, their_out).double()

    def standardised(x: torch.Tensor) -> np.ndarray:
        return ((x.double() - features.double().mean(0)) / features.double().std(0)).numpy()

    kernel = ConstantKernel(float(readout.prior), "fixed") * RBF(float(readout.length) * math.sqrt(6.0), "fixed")
    noise = float(readout.noise) * out[:, 1].double().exp()
    exact = GaussianProcessRegressor(kernel, alpha=noise.numpy(), optimizer=None)
    exact.fit(standardised(features), (value.double() - value.double().mean()).numpy())
    mean, sigma = exact.predict(standardised(others), return_std=True)
    np.testing.assert_allclose(found[:, 0], mean + float(value.double().mean()), atol=2e-3)
    total = np.sqrt(sigma**2 + float(readout.noise) * their_out[:, 1].double().exp().numpy())
    np.testing.assert_allclose(found[:, 1].exp(), total, rtol=2e-2)


def test_it_learns_what_is_not_linear_and_knows_its_errors() -> None:
    readout = KernelReadout(6)
    readout.fit(*curved(2000, 2))
    features, out, value = curved(2000, 3)
    mean, log_sigma = readout(features, out).unbind(1)
    pull = (value - mean) / log_sigma.exp()
    assert float((value - mean).std()) < 0.25 * float(value.std())
    assert 0.6 < float((pull.abs() < 1.0).double().mean()) < 0.8
    far = torch.full((1, 6), 1e3)
    assert float(readout(far, out[:1])[0, 1].exp()) > 0.9 * math.sqrt(float(readout.prior))


def test_it_changes_nothing_until_it_is_fitted() -> None:
    features, out, value = curved(LEAST - 1, 4)
    readout = KernelReadout(6)
    readout.fit(features, out, value)
    torch.testing.assert_close(readout(features, out), out, rtol=1e-6, atol=0)


def test_a_head_uses_it_only_outside_of_training() -> None:
    features, _, value = curved(300, 5)
    head = ScalarHead(6, 5.0, 2.0, log=False, kernel=True).eval()
    with torch.no_grad():
        before = head(features)
        head.readout.fit(features, before, value)
        assert torch.equal(head.train()(features), before)
        after = head.eval()(features)
        again = ScalarHead(6, 5.0, 2.0, log=False, kernel=True).eval()
        again.load_state_dict(head.state_dict())
        assert torch.equal(again(features), after)
    mean, sigma = head.estimate(after)
    assert float((mean - (5.0 + 2.0 * value)).abs().median()) < 0.2 and bool((sigma > 0).all())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_autocast_does_not_round_it(precision: torch.dtype) -> None:
    features, out, value = curved(300, 6)
    readout = KernelReadout(6)
    readout.fit(features, out, value)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        found = readout(features, out)
    assert torch.equal(found, readout(features, out))
