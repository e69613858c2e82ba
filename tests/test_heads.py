"""Heads learn categories by cross-entropy, and numbers with their errors."""

import math

import pytest
import torch

from spectromer.learning.heads import CategoryHead, ScalarHead, known_mask


def test_a_number_is_learnt_with_its_error() -> None:
    """The loss is least at the mean and the scatter of the labels, for a number and for a logarithm."""
    rng = torch.Generator().manual_seed(0)
    for log, mean, scatter in ((False, 4.0, 0.5), (True, 8.7, 0.1)):
        head = ScalarHead(1, mean + 0.1, 2.0, log)
        value = mean + scatter * torch.randn(4000, generator=rng)
        value = value.exp() if log else value
        out = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([out], lr=0.05)
        for _ in range(400):
            optimizer.zero_grad()
            head.loss(out.expand(len(value), 2), value).mean().backward()
            optimizer.step()
        found, error = (float(x) for x in head.estimate(out.detach()[None]))
        unit = math.exp(mean) if log else 1.0
        assert found == pytest.approx(math.exp(mean) if log else mean, abs=0.05 * scatter * unit)
        assert error == pytest.approx(scatter * unit, rel=0.05)


def test_a_category_is_learnt_by_cross_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    want = torch.tensor([math.log(2.0), math.log(4.0 / 3.0)])
    torch.testing.assert_close(CategoryHead(4, 2, hidden=False).loss(logits, torch.tensor([1, 0])), want)


def test_labels_that_are_there() -> None:
    assert known_mask(torch.tensor([1, -1, 0])).tolist() == [True, False, True]
    assert known_mask(torch.tensor([0.0, math.nan, -1.5])).tolist() == [True, False, True]
