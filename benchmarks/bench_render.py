"""render: whole spectra to images, by style, and on all threads."""

import os
from typing import Any

import pytest
import torch

from spectromer import SpectrumBatch, render
from spectromer.ops.render import STYLES

GROUP = "render 4620 px to 224 x 224"


@pytest.mark.parametrize("style", list(STYLES))
def test_styles(rate: Any, batch: SpectrumBatch, style: str) -> None:
    images = rate(GROUP, f"spectromer, style={style}", len(batch), lambda: render(batch, style=style))
    assert bool((images.amax((1, 2, 3)) > 200).all())


def test_all_threads(rate: Any, batch: SpectrumBatch) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        images = rate(GROUP, f"spectromer, style=plot, {os.cpu_count()} threads", len(batch), lambda: render(batch))
    finally:
        torch.set_num_threads(1)
    assert bool((images.amax((1, 2, 3)) > 200).all())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu(rate: Any, batch: SpectrumBatch) -> None:
    many = batch.select(list(range(len(batch))) * 16).to("cuda")

    def work() -> torch.Tensor:
        images = render(many)
        torch.cuda.synchronize()
        return images

    images = rate(GROUP, f"spectromer on {torch.cuda.get_device_name()}", len(many), work)
    assert int((images[: len(batch)].cpu().int() - render(batch).int()).abs().max()) <= 1
