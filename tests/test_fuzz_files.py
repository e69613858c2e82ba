"""Damaged files: each is read as by astropy, or refused in one sentence, within limits of time and memory."""

import random
from collections import Counter
from pathlib import Path

import pytest
from mutants import Seed, mutate, outcome, seed_of
from survey_files import write_medium

from spectromer import Spectrum
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS

COUNT = 150


@pytest.fixture(scope="module")
def seeds(sdss: list[Spectrum], lamost: list[Spectrum], tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    folder = tmp_path_factory.mktemp("seeds")
    SDSS.write(sdss[0], folder / "sdss.fits")
    LAMOST.write(lamost[0], folder / "table.fits", "table")
    LAMOST.write(lamost[0], folder / "image.fits", "image")
    write_medium(folder / "medium.fits")
    return [seed_of(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_read_right_or_refused(seed: int, seeds: list[Seed], tmp_path: Path) -> None:
    kinds = Counter[str]()
    for number in range(COUNT):
        data, done = mutate(random.Random(f"{seed}-{number}"), seeds)
        (tmp_path / "a.fits").write_bytes(data)
        result = outcome(tmp_path / "a.fits")
        assert not result.is_fault, (seed, number, done, result)
        kinds[result.kind] += 1
    assert kinds["read"] > COUNT // 10 and kinds["refused"] > COUNT // 10
