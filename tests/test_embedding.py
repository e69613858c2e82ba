"""Vectors of spectra: those of similar ones are near, and what is found among them is what brute force finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from scipy.spatial.distance import cdist

from spectromer import Predictor, SpectrumBatch
from spectromer.embed import main as embed_main
from spectromer.errors import ArgumentError
from spectromer.learning.embedding import embed, neighbours, rarest, read_vectors
from spectromer.similar import main as similar_main
from spectromer.surveys.simulated import simulate


def named(count: int) -> Table:
    return Table({"path": [""] * count, "survey": ["SDSS"] * count, "id": [f"s{i}" for i in range(count)]})


@pytest.fixture(scope="module")
def vectors(run: Path, survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors") / "found.parquet"
    assert embed_main([str(run), str(survey), "--out", str(out), "--batch-size", "16"]) == 0
    return out


def test_vectors_are_those_of_the_model(run: Path, survey: Path, vectors: Path) -> None:
    names, found = read_vectors(vectors)
    assert len(names) == 40 and (vectors.parent / "found.unreadable.csv").read_text().count("\n") == 4
    predictor = Predictor.load(run, device="cpu")
    made = {s.id: s for s in simulate(40, seed=9)}
    want = embed(predictor, SpectrumBatch.from_spectra([made[name] for name in names["id"][:5]]))
    np.testing.assert_allclose(found[:5], want.numpy(), rtol=1e-2, atol=2e-2)  # the files hold rounded fluxes
    typical = predictor.calibration.typicality
    assert typical is not None and found.shape[1] == typical.whiten.shape[1]


def test_neighbours_are_those_of_brute_force(vectors: Path) -> None:
    names, found = read_vectors(vectors)
    wanted = [str(names["id"][3]), str(names["id"][17])]
    table = neighbours(names, found, wanted, 4)
    distances = cdist(found, found)
    for one, row in zip(wanted, (3, 17), strict=True):
        order = [i for i in np.argsort(distances[row]) if i != row][:4]
        part = table[table["to"] == one]
        assert list(part["id"]) == list(names["id"][order])
        np.testing.assert_allclose(part["distance"], distances[row, order], rtol=1e-3)


def test_the_rarest_are_far_from_all_others() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 6)).astype(np.float32)
    vectors[[7, 300]] += 30.0
    vectors[300] += 30.0
    table = rarest(named(500), vectors, 3)
    assert list(table["id"])[:2] == ["s300", "s7"] and table["distance"][1] > 5 * table["distance"][2]
    want = np.sort(cdist(vectors, vectors), 1)[:, 1:11].mean(1).max()
    assert table["distance"][0] == pytest.approx(want, rel=1e-3)
    assert len(rarest(named(2), vectors[:2], 3)) == 2
    with pytest.raises(ArgumentError, match="the rarest of 1 spectra cannot be told"):
        rarest(named(1), vectors[:1], 3)


def test_tables_of_what_was_found(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(read_vectors(vectors)[0]["id"][0])
    assert similar_main([str(vectors), "--to", name, "--number", "3"]) == 0
    shown = capsys.readouterr().out.strip().splitlines()
    assert len(shown) == 5 and shown[0].split() == ["to", "path", "survey", "id", "distance"]
    assert similar_main([str(vectors), "--out", str(tmp_path / "rare.csv")]) == 0
    assert len(Table.read(tmp_path / "rare.csv")) == 10


def test_what_is_no_table_of_vectors(vectors: Path, tmp_path: Path, error_line: Any) -> None:
    (tmp_path / "a.parquet").write_text("no table")
    assert error_line(similar_main, [str(tmp_path / "a.parquet")]).startswith(
        f"{tmp_path / 'a.parquet'}: not a table of"
    )
    assert error_line(similar_main, [str(vectors), "--to", "none"]) == "--to none: no spectrum in the table has this id"


def test_nothing_to_embed(survey: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "none.parquet"
    assert embed_main([str(run), str(survey / "text.fits"), "--out", str(out)]) == 1
    assert not out.exists()


def test_one_odd_spectrum_costs_itself_alone(
    run: Path, survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Predictor.outputs

    def outputs(self: Predictor, batch: SpectrumBatch) -> Any:
        if "1000-55000-0003" in batch.ids:
            raise RuntimeError("odd")
        return original(self, batch)

    monkeypatch.setattr(Predictor, "outputs", outputs)
    out = tmp_path / "found.parquet"
    assert embed_main([str(run), str(survey), "--out", str(out)]) == 0
    assert len(read_vectors(out)[0]) == 39
    assert "it cannot be embedded (odd)" in (tmp_path / "found.unreadable.csv").read_text()
