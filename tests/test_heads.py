"""Heads learn categories by cross-entropy, and numbers with their errors."""

import math

import pytest
import torch

from spectromer.learning.heads import CategoryHead, ScalarHead, SubclassHead, known_mask


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


VOCABULARY = ["A8", "A9", "CV", "F0", "F5", "WD"]


def test_the_target_of_a_subtype_is_spread_over_its_neighbours() -> None:
    """The loss is the cross-entropy with a Gaussian of the distance on the scale; F0 is one subtype from A9."""
    head = SubclassHead(4, VOCABULARY, hidden=False, smoothing=1.0)
    logits = torch.linspace(-1.0, 2.0, 6)[None].requires_grad_()
    weights = torch.tensor([math.exp(-0.5 * d**2) for d in (1, 0, math.inf, 1, 6, math.inf)])
    target = weights / weights.sum()
    loss = head.loss(logits, torch.tensor([1]))
    torch.testing.assert_close(loss, -(target * logits.log_softmax(1)).sum(1))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient[0], logits.detach().softmax(1)[0] - target)
    # From a flat distribution, the neighbours are pulled up, and what is far or on no scale is pushed down.
    flat = torch.zeros(1, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(head.loss(flat, torch.tensor([1])).sum(), flat)
    assert (gradient[0] < 0).tolist() == [True, True, False, True, False, False]
    torch.testing.assert_close(head.loss(flat.detach(), torch.tensor([2])), torch.tensor([math.log(6.0)]))


def test_kinds_on_no_scale_are_learnt_by_cross_entropy() -> None:
    logits, value = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    plain = CategoryHead(4, 6, hidden=False).loss(logits, value)
    found = SubclassHead(4, VOCABULARY, hidden=False).loss(logits, value)
    torch.testing.assert_close(found[[2, 5]], plain[[2, 5]])
    assert (found[[0, 1, 3]] != plain[[0, 1, 3]]).all()


def test_without_smoothing_the_loss_is_the_cross_entropy() -> None:
    logits, value = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    plain = CategoryHead(4, 6, hidden=False).loss(logits, value)
    torch.testing.assert_close(SubclassHead(4, VOCABULARY, False, smoothing=0.0).loss(logits, value), plain)
    torch.testing.assert_close(SubclassHead(4, VOCABULARY, False, smoothing=0.05).loss(logits, value), plain)
    torch.testing.assert_close(SubclassHead(4, VOCABULARY, False, smoothing=1.0).surprise(logits, value), plain)


def test_a_spectral_type_alone_is_the_sum_of_its_subclasses() -> None:
    """The types are A, CV, F and WD; F is the third, and its loss does not prefer any of its subtypes."""
    head = SubclassHead(4, VOCABULARY, hidden=False)
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    p = logits.softmax(1)[0]
    for loss in (head.loss(logits, torch.tensor([8])), head.surprise(logits, torch.tensor([8]))):
        torch.testing.assert_close(loss[0], -(p[3] + p[4]).log())
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    ratio = gradient[0, [3, 4]] / p[[3, 4]]
    torch.testing.assert_close(ratio[0], ratio[1])
    assert (gradient[0] < 0).tolist() == [False, False, False, True, True, False]


def test_a_rare_subtype_learns_from_its_neighbours() -> None:
    """Without any label of A9, it becomes the most probable between A8 and F0, and F5 does not."""
    head = SubclassHead(1, ["A8", "A9", "F0", "F5"], hidden=False, smoothing=1.0)
    logits = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(logits.expand(2, 4), torch.tensor([0, 2])).mean().backward()
        optimizer.step()
    p = logits.detach().softmax(0)
    near, far = math.exp(-0.5), math.exp(-2.0)
    want = near / (1 + near + far)  # in the target of A8, apart from the negligible share of F5; the same in that of F0
    assert float(p[1]) == pytest.approx(want, abs=0.01) and float(p[3]) < 0.01


def test_checkpoints_hold_only_weights() -> None:
    assert list(SubclassHead(4, VOCABULARY, False).state_dict()) == list(CategoryHead(4, 6, False).state_dict())


def test_labels_that_are_there() -> None:
    assert known_mask(torch.tensor([1, -1, 0])).tolist() == [True, False, True]
    assert known_mask(torch.tensor([0.0, math.nan, -1.5])).tolist() == [True, False, True]
