"""Feeds bring every row once, in an order that the seed decides, and go on exactly where they stopped."""

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from spectromer.shards.batches import Batches, in_order
from spectromer.shards.feeds import Feed
from spectromer.shards.splits import split_by_object
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate

# DALI leaves the sockets of its worker processes to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
with_dali = pytest.mark.skipif(importlib.util.find_spec("nvidia.dali") is None, reason="extra dali")


@pytest.fixture(scope="module")
def shards() -> ShardSet:
    """The set has eight blocks."""
    return ShardSet.from_spectra(list(simulate(2000, seed=1)))


def order(batches: Batches) -> list[int]:
    return np.concatenate([batches.rows_of(i) for i in range(len(batches))]).tolist()


def drawn(feed: Feed) -> list[tuple[Any, ...]]:
    """One epoch, in a form that can be compared."""
    return [
        (b.flux.double().sum().item(), b.ivar.double().sum().item(), b.wavelength.sum().item(),
         {name: value.tolist() for name, value in values.items()})
        for b, values in feed
    ]  # fmt: skip


def test_an_epoch_has_every_row_once(shards: ShardSet) -> None:
    rows = split_by_object(shards.index["object"].to_pylist(), (0.8, 0.1, 0.1), seed=0)["train"]
    batches = Batches(shards, rows, batch_size=7, window=2, shuffle=False)
    assert order(batches) == rows.tolist() and len(batches) == -(-len(rows) // 7)
    batches = Batches(shards, rows, batch_size=7, window=2, seed=5)
    found = order(batches)
    assert len(found) == len(set(found)) == len(rows) // 7 * 7 and set(found) <= set(rows.tolist())
    assert order(Batches(shards, rows, batch_size=7, window=2, seed=5)) == found
    assert order(Batches(shards, rows, batch_size=7, window=2, seed=6)) != found
    batches.set_epoch(1)
    assert order(batches) != found and len(order(batches)) == len(found)
    with pytest.raises(IndexError, match=rf"batch must be from 0 to {len(batches) - 1}, got {len(batches)}"):
        batches.rows_of(len(batches))


def test_order_is_mixed(shards: ShardSet) -> None:
    """Neighbouring rows of a batch come from all over the window."""
    found = np.array(order(Batches(shards, batch_size=50, window=8)))
    assert np.abs(np.diff(found)).mean() > 0.8 * len(shards) / 3  # a third is the mean distance of random places
    blocks = np.unique(found[:50] // 256)
    assert len(blocks) == 8


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_without_duplicates(shards: ShardSet, ranks: int) -> None:
    each = [Batches(shards, batch_size=32, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert len({len(batches) for batches in each}) == 1  # else the ranks that have more would wait for ever
    rows = [row for batches in each for row in order(batches)]
    assert len(rows) == len(set(rows)) > len(shards) - 32 * ranks  # the rest does not fill a batch
    every = [Batches(shards, batch_size=32, rank=rank, ranks=ranks, shuffle=False) for rank in range(ranks)]
    assert sorted(row for batches in every for row in order(batches)) == list(range(len(shards)))


MILLIONTH = 1e-6 * 1e-4 * np.log(10.0)  # of a pixel, to which shards keep logarithmic grids

WAYS = [
    {},
    {"workers": 2},
    {"resident": True},
    pytest.param({"feed": "dali"}, marks=with_dali),
    pytest.param({"feed": "dali", "workers": 1}, marks=with_dali),
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_batches(shards: ShardSet, way: dict[str, Any]) -> None:
    """DALI and worker processes give the same two epochs as one process, also when continued within the second."""
    values = {"snr": torch.tensor([row["snr"] for row in shards.labels()])}
    rows = np.arange(3, 1990)

    def feed(**way: Any) -> Feed:
        return Feed(Batches(shards, rows, batch_size=128, seed=3, window=3), values, **way)

    plain = feed()
    want = [drawn(plain), drawn(plain)]
    assert want[0] != want[1] and len(want[0]) == len(plain) == 15
    other = feed(**way)
    assert [drawn(other), drawn(other)] == want
    stopped = feed(**way)
    drawn(stopped)
    first = iter(stopped)
    begun = [next(first) for _ in range(4)]
    assert begun[3][1]["row"].tolist() == want[1][3][3]["row"]
    resumed = feed(**way)
    resumed.load_state_dict(stopped.state_dict())
    assert drawn(resumed) == want[1][4:]
    assert begun[0][0].flux.double().sum().item() == want[1][0][0]  # a batch that was kept has not changed


@pytest.mark.parametrize("way", WAYS)
def test_spectra_on_grids_of_their_own(way: dict[str, Any]) -> None:
    made = [replace(s, wavelength=s.wavelength * (1.0 + 1e-6 * i)) for i, s in enumerate(simulate(40))]
    shards = ShardSet.from_spectra(made)
    assert shards.grid is None
    for batch, values in Feed(Batches(shards, batch_size=16, shuffle=False), **way):
        assert batch.wavelength.shape == batch.flux.shape
        for i, row in enumerate(values["row"].tolist()):
            torch.testing.assert_close(batch.wavelength[i], made[row].wavelength, rtol=MILLIONTH, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_gets_the_same_batches(shards: ShardSet, resident: bool) -> None:
    values = {"snr": torch.tensor([row["snr"] for row in shards.labels()])}

    def feed(**way: Any) -> Feed:
        return Feed(Batches(shards, batch_size=128, seed=3, window=3), values, **way)

    plain, other = feed(), feed(device="cuda", resident=resident)
    for _ in range(2):
        for (want, labels), (got, found) in zip(plain, other, strict=True):
            for name in ("flux", "ivar", "wavelength"):
                assert torch.equal(getattr(got, name).cpu(), getattr(want, name))
            assert torch.equal(found["snr"].cpu(), labels["snr"]) and torch.equal(found["row"].cpu(), labels["row"])


def test_scales_of_fluxes_come_with_them() -> None:
    made = [replace(s, flux_scale=10.0**-i) for i, s in enumerate(simulate(4))]
    shards = ShardSet.from_spectra(made)
    for batch, values in Feed(Batches(shards, batch_size=4, seed=1)):
        assert batch.flux_scale == [10.0**-i for i in values["row"].tolist()]


def test_in_order(shards: ShardSet) -> None:
    ids = [name for batch in in_order(shards, np.arange(100, 700), batch_size=64) for name in batch.ids]
    assert ids == shards.index["object_id"].to_pylist()[100:700]
    assert list(in_order(ShardSet.from_spectra([]))) == []


def test_what_cannot_be_is_refused(shards: ShardSet) -> None:
    for options, message in (
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"rank": 2, "ranks": 2}, "rank must be from 0 to 1, got 2"),
        ({"rows": np.array([2000])}, "rows must be from 0 to 1999, got 2000"),
    ):
        with pytest.raises(ValueError, match=message):
            Batches(shards, **options)
    with pytest.raises(ValueError, match="feed must be 'torch' or 'dali', got 'tf'"):
        Feed(Batches(shards), feed="tf")
    with pytest.raises(ValueError, match=r"values\['z'\] must have 2000 rows, got 3"):
        Feed(Batches(shards), {"z": torch.zeros(3)})
