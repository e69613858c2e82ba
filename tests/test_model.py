"""The model has an output and a loss for each target, and takes over what another run learnt."""

import math

import pytest
import torch

from spectromer.errors import ModelError
from spectromer.learning.design import Design
from spectromer.learning.redshift import COARSE_EDGES
from spectromer.learning.targets import Targets
from spectromer.picture import Picture


def test_each_target_has_a_head() -> None:
    """The heads of categories are told where z lies; every head but that of z may have a hidden layer."""
    scale = {"z": (0.0, 2.0), "teff": (6000.0, 900.0)}
    targets = Targets(("class", "z", "teff"), {"class": ["QSO", "STAR"]}, {}, scale)
    picture = Picture.of("panels", 64, panels=4)
    for heads in ("linear", "mlp"):
        model = Design("test_vit", picture, targets, heads=heads).build()
        assert list(model.heads) == ["class_head", "z_head", "teff_head"]
        assert model.head("class").output.in_features == model.encoder.width + len(COARSE_EDGES) + 1
        assert model.head("teff").output.in_features == model.encoder.width
        assert isinstance(model.head("teff").hidden, torch.nn.Sequential) == (heads == "mlp")
    pooled = Design("test_vit", picture, targets, redshift_head="pooled").build()
    assert hasattr(model.head("z"), "unfold") and not hasattr(pooled.head("z"), "unfold")


def test_losses_are_sums_over_the_labels_that_are_there() -> None:
    targets = Targets(("class", "teff"), {"class": ["QSO", "STAR"]}, {}, {"teff": (math.log(6000.0), 0.2)})
    model = Design("test_vit", Picture.of("plot", 64), targets).build().eval()
    out = model(torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8))
    labels = {"class": torch.tensor([1, -1, 0]), "teff": torch.tensor([5000.0, math.nan, math.nan])}
    sums, counts = model.losses(out, labels)
    each = model.head("class").loss(out["class"], torch.tensor([1, 0, 0]))
    assert counts.tolist() == [2.0, 1.0]
    torch.testing.assert_close(sums[0], each[0] + each[2])
    torch.testing.assert_close(sums[1], model.head("teff").loss(out["teff"][:1], torch.tensor([5000.0]))[0])


def test_what_another_run_learnt_is_taken_over() -> None:
    """Values of a category are taken over by name, numbers with their scale, and the redshift with its bins."""
    old = Targets(
        ("class", "subclass", "z", "teff"),
        {"class": ["GALAXY", "QSO", "STAR"], "subclass": ["A", "F", "M"]},
        {},
        {"z": (0.0, 2.0), "teff": (6000.0, 900.0)},
    )
    new = Targets(
        ("subclass", "z", "teff", "logg"),
        {"subclass": ["F", "G", "M"]},
        {},
        {"z": (0.0, 1.0), "teff": (5000.0, 500.0), "logg": (4.0, 1.0)},
    ).with_scales_of(old)
    assert new.scale == {"z": (0.0, 2.0), "teff": (6000.0, 900.0), "logg": (4.0, 1.0)}
    picture = Picture.of("panels", 64, panels=4)
    teacher, pupil = Design("test_vit", picture, old).build(), Design("test_vit", picture, new).build()
    fresh = pupil.head("subclass").output.weight[1].clone()
    assert pupil.load_matching(teacher.state_dict(), old) == ["subclass", "teff", "z"]
    rows = teacher.head("subclass").output.weight
    assert torch.equal(pupil.head("subclass").output.weight, torch.stack((rows[1], fresh, rows[2])))
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    theirs, ours = teacher.eval()(images), pupil.eval()(images)
    assert torch.equal(theirs["z"], ours["z"]) and torch.equal(theirs["teff"], ours["teff"])
    with pytest.raises(ModelError, match="encoder is not the one asked for"):
        Design("vit_nano_patch16_128", Picture.of("plot", 128), new).build().load_matching(teacher.state_dict(), old)


def test_subtypes_start_from_what_is_nearest() -> None:
    """A run that knows letters passes each letter on to its subtypes, which share its probability."""
    picture = Picture.of("plot", 64)
    old = Targets(("subclass",), {"subclass": ["A", "G2", "WD"]})
    new = Targets(("subclass",), {"subclass": ["A0", "A5", "CV", "G2", "G4", "G9", "WD"]})
    teacher, pupil = Design("test_vit", picture, old).build(), Design("test_vit", picture, new).build()
    torch.nn.init.normal_(teacher.head("subclass").output.bias)
    before = {part: getattr(pupil.head("subclass").output, part).detach().clone() for part in ("weight", "bias")}
    assert pupil.load_matching(teacher.state_dict(), old) == ["subclass"]
    theirs, ours = teacher.head("subclass").output, pupil.head("subclass").output
    assert torch.equal(ours.weight, torch.stack([theirs.weight[0]] * 2 + [before["weight"][2]] + [theirs.weight[1]] * 2
                                                + [before["weight"][5], theirs.weight[2]]))  # fmt: skip
    assert torch.equal(ours.bias[[2, 3, 5, 6]], torch.stack([before["bias"][2], theirs.bias[1], before["bias"][5],
                                                             theirs.bias[2]]))  # fmt: skip
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    theirs, ours = (model.eval()(images)["subclass"] for model in (teacher, pupil))
    torch.testing.assert_close(ours[:, :2].logsumexp(1), theirs[:, 0])


def test_a_category_of_one_value_has_a_loss() -> None:
    """What has no label is left out, whatever stands in for it."""
    model = Design("test_vit", Picture.of("plot", 64), Targets(("class",), {"class": ["STAR"]})).build().eval()
    out = model(torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8))
    assert model.losses(out, {"class": torch.tensor([-1, 0])}).tolist() == [[0.0], [1.0]]
