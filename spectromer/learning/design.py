"""The design of a model: everything but its weights."""

from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer

from spectromer.config import SPECFORMER, HeadKind, Pooling, RedshiftMethod
from spectromer.errors import ModelError, RunError, SpectromerError
from spectromer.learning.backbone import create_backbone
from spectromer.learning.checkpoints import check_weights
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.model import SpectrumModel
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.learning.targets import Targets
from spectromer.picture import Picture
from spectromer.runs import RunFolder
from spectromer.transforms import SpectrumToImage

__all__ = ["Design"]

_LARGEST, _MOST_BINS = 8192, 1 << 20  # limits for memory


@dataclass(frozen=True)
class Design:
    """The design of a model: everything but its weights. It is saved as model.json.

    Attributes
    ----------
    model : str
        Name of a ViT of timm, or "specformer".
    picture : Picture or None
        The picture drawn of each spectrum; None for "specformer", whose input is a sequence.
    targets : Targets
        The targets of the model.
    heads, redshift_head, keep_patches, pooling
        As in `SpectrumModel` and `ImageEncoder`. Models of earlier versions have the pooling "mean".

    Raises
    ------
    ModelError
        When a field is invalid, or the model and the picture are incompatible.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    model: str
    picture: Picture | None
    targets: Targets
    heads: HeadKind = "linear"
    redshift_head: RedshiftMethod = "correlation"
    keep_patches: float = 1.0
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if (self.picture is None) != (self.model == SPECFORMER):
            got = "None" if self.picture is None else "a picture"
            raise ModelError(f"a picture is for models other than {SPECFORMER}, got {self.model} and {got}")
        if self.picture is not None and self.picture.dtype != "uint8":
            raise ModelError(f"dtype must be uint8 for the model's pictures, got {self.picture.dtype}")
        if self.picture is not None and (self.picture.size > _LARGEST or self.picture.bins > _MOST_BINS):
            raise ModelError(
                f"a model's picture has at most {_LARGEST} pixels a side and {_MOST_BINS} bins, "
                f"got {self.picture.size} and {self.picture.bins}"
            )
        if not 0.0 < self.keep_patches <= 1.0:
            raise ModelError(f"keep_patches must lie in (0, 1], got {self.keep_patches}")

    @classmethod
    def read(cls, run: RunFolder) -> tuple["Design", SpectrumModel]:
        """The design of a run, and a newly initialised model.

        Raises
        ------
        RunError
            When model.json is missing or damaged, or names a model that cannot be built.
        """
        design = run.read_model(cls)
        try:
            return design, design.build()
        except SpectromerError as error:
            raise RunError(f"{run.model}: {error}") from error

    @classmethod
    def load(cls, run: RunFolder) -> tuple["Design", SpectrumModel]:
        """The design of a run, and the model with its weights.

        Raises
        ------
        RunError
            When model.json or the weights are missing or damaged, or do not match.
        """
        design, model = cls.read(run)
        weights = run.read_weights()
        check_weights(run.weights, weights, model.state_dict())
        model.load_state_dict(weights)
        return design, model

    def transform(self) -> SpectrumToImage | SpectrumToSequence:
        """The transform from spectra to the input of the encoder."""
        return SpectrumToSequence() if self.picture is None else SpectrumToImage(self.picture)

    def build(self, backbone: VisionTransformer | None = None) -> SpectrumModel:
        """Build the model around the given backbone, or around a newly initialised one."""
        encoder: ImageEncoder | SpecFormer
        if self.picture is None:
            transform = SpectrumToSequence()
            encoder = SpecFormer(transform.bins, transform.step)
        else:
            size, channels = self.picture.size, self.picture.image_channels
            backbone = backbone or create_backbone(self.model, size=size, channels=channels)
            encoder = ImageEncoder(backbone, self.picture, self.keep_patches, self.pooling)
        return SpectrumModel(encoder, self.targets, self.heads, self.redshift_head)
