"""The form of spectra in shards."""

from dataclasses import replace

import pytest

from spectromer import Spectrum
from spectromer.shards.schema import block_of
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate


@pytest.fixture(scope="module")
def spectra() -> list[Spectrum]:
    """600 spectra of both surveys: more than two blocks."""
    return list(simulate(600))


def test_unknown_labels_and_empty_sets(spectra: list[Spectrum]) -> None:
    with pytest.raises(ValueError, match=r"label 'mass' of spectrum .* must be one of class, "):
        block_of([replace(spectra[0], labels={"mass": 1.0})])
    empty = ShardSet.from_spectra([])
    assert len(empty) == 0 and empty.grid is None and list(empty.labels()) == []
    assert empty.batch([]).flux.shape == (0, 0)
    assert ShardSet.from_spectra(spectra[:1]).batch([]).flux.shape == (0, len(spectra[0]))
