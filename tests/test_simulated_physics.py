"""The simulated objects obey the physics that textbooks and surveys state."""

import numpy as np
import pytest
import torch
from torch import Tensor

from spectromer.subclasses import canonical_subclass
from spectromer.surveys.simulated import absorption, atmospheres, galaxies, quasars, simulate, sky, stars
from spectromer.surveys.simulated.draw import Draw, add_line

WAVE = torch.from_numpy(10.0 ** (3.55 + 1e-4 * np.arange(4650))).float()[None]
STEPS = WAVE * 1e-4 * np.log(10.0)


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def star(teff: float, logg: float = 4.4, feh: float = 0.0) -> Tensor:
    return stars.star_flux(WAVE, column(teff), column(logg), column(feh), column(0.0), column(5.0))[0]


def width(flux: Tensor, low: float, high: float) -> float:
    """Equivalent width in A between two wavelengths, over a straight line through the flux at both."""
    wave = WAVE[0]
    inside = (wave > low) & (wave < high)
    ends = flux[[int((wave < low).sum()), int((wave < high).sum())]]
    line = ends[0] + (ends[1] - ends[0]) * (wave - low) / (high - low)
    return float(((1.0 - flux / line) * STEPS[0])[inside].sum())


@pytest.mark.parametrize("stark", [False, True])
def test_lines_have_their_area_and_place(stark: bool) -> None:
    tau = torch.zeros_like(WAVE)
    add_line(tau, WAVE, 5000.0, 5.0, column(3.0), stark=stark)
    weight = tau * STEPS
    # The wings of a Stark profile beyond fourteen scales hold 2 * 14^-1.5 / (1.5 * 2.396) of it.
    lost = 2.0 * 14.0**-1.5 / 3.594 if stark else 0.0
    assert float(weight.sum()) == pytest.approx(3.0 * (1.0 - lost), rel=4e-3)
    assert float((weight * WAVE).sum() / weight.sum()) == pytest.approx(5000.0, abs=0.2)
    assert torch.equal(tau > 0, tau != 0) and float(WAVE[0, tau[0].argmax()]) == pytest.approx(5000.0, abs=0.6)


def test_black_bodies_follow_wien() -> None:
    wave = torch.linspace(2000.0, 30000.0, 280001)
    for teff in (3000.0, 5772.0, 9000.0):
        assert float(wave[atmospheres.planck(wave, torch.tensor(teff)).argmax()]) * teff == pytest.approx(
            2.8978e7, rel=1e-3
        )


def test_hotter_stars_are_bluer() -> None:
    colours = [float(f[300] / f[3000]) for f in map(star, (3500.0, 4500.0, 5800.0, 8000.0, 15000.0, 30000.0))]
    assert all(np.diff(colours) > 0)


def test_stellar_lines_lie_where_they_must() -> None:
    """H alpha, H beta, Ca II at vacuum wavelengths; Balmer lines are strongest at about A2."""
    for teff, low, high, centre in (
        (9000.0, 6540, 6590, 6564.6),
        (9000.0, 4840, 4885, 4862.7),
        (5000.0, 8530, 8560, 8544.4),
    ):
        inside = (WAVE[0] > low) & (WAVE[0] < high)
        assert float(WAVE[0][inside][star(teff)[inside].argmin()]) == pytest.approx(centre, abs=1.0)
    beta = {t: width(star(t), 4800.0, 4930.0) for t in (5000.0, 7000.0, 9200.0, 14000.0, 30000.0)}
    assert max(beta, key=beta.__getitem__) == 9200.0 and beta[5000.0] < 0.4 * beta[9200.0] < beta[7000.0]
    assert width(star(42000.0), 4675.0, 4700.0) > 0.4 > abs(width(star(9500.0), 4675.0, 4700.0))  # He II of O stars


def test_lines_measure_metals_and_gravity() -> None:
    magnesium = [width(star(5500.0, 4.4, feh), 5155.0, 5195.0) for feh in (-2.0, -1.0, 0.0, 0.4)]
    assert all(np.diff(magnesium) > 0.2)
    strontium = [
        float(atmospheres._absorbers(["Sr"], [1], [0.0], column(5000.0), column(g), column(0.0))) for g in (2.0, 4.4)
    ]
    assert strontium[0] > 1.5 * strontium[1]  # luminous stars have strong lines of ions
    assert float(
        atmospheres._absorbers(["Fe"], [0], [1.0], column(5772.0), column(4.44), column(0.0))
    ) == pytest.approx(1.0)
    assert width(star(9000.0, 4.4), 4780.0, 4950.0) > width(star(9000.0, 2.4), 4780.0, 4950.0)  # Stark broadening


def test_cool_stars_have_bands() -> None:
    depth = [float(1.0 - f[3035] / f[2960]) for f in map(star, (5800.0, 4200.0, 3500.0, 3000.0))]  # 7130 over 7005 A
    assert depth[3] > depth[2] > 0.2 and max(map(abs, depth[:2])) < 0.05


def test_types_follow_temperature() -> None:
    """Pecaut & Mamajek (2013), and the simulated dwarfs' labels within a subtype of it."""
    all_types = np.concatenate([np.array(v) for v in stars.TEMPERATURES.values()])
    assert (np.diff(all_types) <= 0).all() and stars.TEMPERATURES["G"][2] == 5770
    checked = 0
    for s in simulate(512, seed=8):
        labels = s.labels
        if labels["class"] != "STAR":
            continue
        assert canonical_subclass(labels["subclass"]) is not None
        name = labels["subclass"]
        if "teff" not in labels or name[0] not in "BAF" or not name[1].isdigit():
            continue
        place = 10 * list(stars.TEMPERATURES).index(name[0]) + int(name[1])
        assert all_types[place + 1] <= labels["teff"] <= all_types[place - 1]
        checked += 1
    assert checked > 40


def test_the_4000_break_grows_with_age() -> None:
    """The index of Balogh et al. (1999), in f_nu: below 1.3 for young populations, above 1.5 for old ones."""
    shares = torch.eye(5)
    zero = torch.zeros(5, 1)
    flux = galaxies.starlight(WAVE.expand(5, -1), shares, zero, zero, zero + 150.0) * WAVE**2
    red, blue = (WAVE[0] > 4000.0) & (WAVE[0] < 4100.0), (WAVE[0] > 3850.0) & (WAVE[0] < 3950.0)
    index = (flux[:, red].mean(1) / flux[:, blue].mean(1)).numpy()
    assert (index[:3] < 1.3).all() and index[3] > index[2] and index[4] > max(1.5, index[3])


def test_old_stars_make_the_light_of_short_bursts() -> None:
    shares = galaxies.population_shares(column(0.5, 2.0, 10.0))
    assert torch.allclose(shares.sum(1), torch.ones(3))
    assert (shares[:, 4].diff() < 0).all() and (shares[:, 0].diff() > 0).all()


def test_line_ratios_keep_to_the_sequences() -> None:
    draw = Draw(5)
    for active in (0.0, 1.0):
        ratios = galaxies._ratios(draw, torch.full((2000, 1), active), 2000)
        n2, o3 = torch.log10(ratios["N2"] / 2.86), torch.log10(ratios["O3"])
        if active:
            assert bool((o3 >= 0.75 - 1.2 * (n2 + 0.4) - 1e-4).all())
        else:  # below the limit of star formation of Kewley et al. (2001), but for the scatter
            below = o3 < 0.61 / (n2 - 0.47) + 1.19
            assert float(below.float().mean()) > 0.99


def test_the_balmer_decrement() -> None:
    one = column(1.0)
    ratios = {k: 0.0 * one for k in ("O2", "O3", "N2", "S2", "O1")}
    for ebv in (0.0, 0.5):
        lines = galaxies.emission(WAVE, ratios, 100.0 * one, ebv * one)[0] * STEPS[0]
        alpha = float(lines[(WAVE[0] > 6500) & (WAVE[0] < 6620)].sum())
        beta = float(lines[(WAVE[0] > 4800) & (WAVE[0] < 4920)].sum())
        # Cardelli et al. (1989): k(H beta) - k(H alpha) is 3.61 - 2.53 for R = 3.1.
        assert alpha / beta == pytest.approx(2.86 * 10.0 ** (0.4 * 1.08 * ebv), rel=0.02 if ebv == 0 else 0.06)


def test_the_forest_has_its_mean_transmission() -> None:
    z = torch.full((2000, 1), 3.1)
    wave = (1215.67 * torch.linspace(3.9, 4.05, 60)).expand(2000, -1)
    seen = torch.exp(-absorption._forest(wave, z, Draw(1)))
    expected = torch.exp(-0.751 * (wave / 1215.67 / 4.5) ** 2.90 + 0.132)
    assert float(seen.mean()) == pytest.approx(float(expected.mean()), abs=0.006)
    assert float(seen.std()) > 0.15
    red = torch.full((3, 1), 1220.0) * 4.1
    assert torch.equal(torch.exp(-absorption._forest(red.expand(3, 2), z[:3], Draw(1))), torch.ones(3, 2))


def test_damped_lines_are_as_wide_as_their_columns_make_them() -> None:
    rest = torch.arange(1000.0, 1430.0, 0.05, dtype=torch.float64)
    for log_column, expected in ((20.0, 7.3), (21.0, 23.1)):
        lost = float((1.0 - torch.exp(-absorption.damped_depth(rest, torch.tensor(log_column)))).sum() * 0.05)
        assert lost == pytest.approx(expected, rel=0.05)


def test_quasars_have_a_break_and_a_balmer_edge() -> None:
    rest = torch.tensor([[2000.0, 3000.0, 6000.0, 7000.0]])
    flux = quasars.power_law(rest, column(-1.5))[0]
    slopes = (flux[[1, 3]] / flux[[0, 2]]).log() / (rest[0, [1, 3]] / rest[0, [0, 2]]).log()
    assert slopes.numpy() == pytest.approx([-1.5, -0.5], abs=1e-4)
    edge = quasars.balmer_continuum(torch.tensor([3645.0, 3800.0, 4500.0]))
    assert float(edge[0]) == pytest.approx(1.0, abs=0.01) and float(edge[1]) < 0.2 and float(edge[2]) < 1e-4


def test_dust_dims_by_its_law() -> None:
    wave = torch.tensor([4400.0, 5500.0])
    depth = sky.interstellar(wave, column(1.0), column(1.0))[0] / (0.4 * np.log(10.0))
    assert float(depth[1]) == pytest.approx(3.1, rel=0.01) and float(depth[0] - depth[1]) == pytest.approx(
        1.0, abs=0.07
    )


def test_the_sky_has_its_lines() -> None:
    bright = sky.night_sky(WAVE[0], column(1.0))[0]
    assert float(WAVE[0, bright[:2200].argmax()]) == pytest.approx(5578.9, abs=1.0)
    assert float(bright[WAVE[0] > 7200].mean()) > 1.5 * float(bright[(WAVE[0] > 4500) & (WAVE[0] < 5500)].mean())
