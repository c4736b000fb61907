"""The tables of a recipe: frozen dataclasses that check their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dcgan_data.errors import BadRequest

IMAGE_SIZES = (32, 64, 128, 256)
SOURCE_FORMATS = ("lsun", "folder", "tar", "zip", "parquet", "cifar", "svhn")
SCORE_FLOOR = 0.5
"""Pairs that score less are checked, but not recorded; no threshold can be lower."""


@dataclass(frozen=True)
class SourceRecipe:
    """[source]: which records are read."""

    path: str = ""
    """Where the images are; the command's SRC or --source wins. Relative to the current directory."""
    limit: int = 0
    """Read only the first so many records; 0 reads all."""
    format: str = ""
    """What the source is, one of SOURCE_FORMATS; empty: found out from its content."""
    image_column: str = ""
    """Parquet: the column of encoded images; empty: found by name and type."""
    label_column: str = ""
    """Parquet: the column that becomes ``label``; empty: found by name, or none."""

    def __post_init__(self) -> None:
        require(0 <= self.limit < 2**40, "source.limit", self.limit, "0 (all) or a number of records")
        known = ("", *SOURCE_FORMATS)
        require(self.format in known, "source.format", self.format, f"one of {', '.join(SOURCE_FORMATS)}")


@dataclass(frozen=True)
class ImageRecipe:
    """[image]: how a record becomes pixels (DCGAN paper, sec. 4)."""

    size: int = 64
    """Side of the stored square in pixels: 32, 64, 128 or 256."""
    filter: str = "fast"
    """``fast``: scaled JPEG decode, then area average. ``quality``: Lanczos from at least twice the size."""
    max_pixels: int = 50_000_000
    """Records whose header promises more pixels are rejected unread (decompression bombs)."""
    max_seconds: float = field(default=60.0, compare=False)
    """Records that take longer to decode are rejected; 0: no limit. A matter of the machine and not of the
    pixels: images made under different limits are the same."""

    def __post_init__(self) -> None:
        require(self.size in IMAGE_SIZES, "image.size", self.size, f"one of {IMAGE_SIZES}")
        require(self.filter in ("fast", "quality"), "image.filter", self.filter, "'fast' or 'quality'")
        require(self.max_pixels > 0, "image.max_pixels", self.max_pixels, "a positive number of pixels")
        limit = 0 <= self.max_seconds <= 86_400
        require(limit, "image.max_seconds", self.max_seconds, "0 (no limit) to 86400 seconds")


@dataclass(frozen=True)
class FacesRecipe:
    """[faces]: crops of faces instead of whole pictures (paper, sec. 4.2)."""

    crop: str = "none"
    """``none``: whole pictures. ``box``: a square round the detected box, as in the paper. ``aligned``:
    turned and scaled by eyes and mouth (FFHQ's formula). ``celeba``: the centre of aligned pictures."""
    detector: str = "yunet"
    """``yunet``, or ``haar``: the cascade of the paper's time, without landmarks."""
    detection_side: int = 480
    """Side in pixels of the square that YuNet looks at. With 320 it is half as fast again, and less sure of
    faces that are small in their photo."""
    confidence: float = 0.8
    """Less certain detections are dropped: 0 to 1 for YuNet; Haar's weights have no upper end."""
    overlap: float = 0.3
    """Of detections that overlap more than this (intersection over union), the most confident stays."""
    min_face: int = 64
    """Faces whose box has a smaller longer side, in pixels of the photo, are rejected."""
    margin: float = 0.1
    """``box``: added on each side, as a share of the box's longer side."""
    max_padding: float = 0.25
    """Largest share of a crop that may lie outside the photo, where its mirror image fills it."""
    max_yaw: float = 0.0
    """Faces turned sideways by more degrees are rejected; 0 keeps all."""
    max_roll: float = 0.0
    """Faces tilted by more degrees are rejected; 0 keeps all."""
    min_sharpness: float = 0.0
    """Crops less sharp than this (variance of the Laplacian; 300 rejects visible blur) are rejected;
    0 keeps all."""
    max_faces: int = 0
    """Only so many faces of a photo, the largest; 0 keeps all."""

    def __post_init__(self) -> None:
        crops = ("none", "box", "aligned", "celeba")
        require(self.crop in crops, "faces.crop", self.crop, f"one of {', '.join(crops)}")
        require(self.detector in ("yunet", "haar"), "faces.detector", self.detector, "'yunet' or 'haar'")
        aligned = self.crop == "aligned" and self.detector == "haar"
        require(not aligned, "faces.detector", self.detector, "'yunet': 'aligned' needs landmarks")
        require(
            not (self.max_yaw or self.max_roll) or self.detector == "yunet",
            "faces.detector",
            self.detector,
            "'yunet': max_yaw and max_roll need landmarks",
        )
        sides = 96 <= self.detection_side <= 2048 and self.detection_side % 32 == 0
        require(sides, "faces.detection_side", self.detection_side, "a multiple of 32, 96 to 2048")
        require(self.confidence >= 0, "faces.confidence", self.confidence, "0 or more")
        require(
            self.detector == "haar" or self.confidence <= 1, "faces.confidence", self.confidence, "0 to 1"
        )
        require(0 < self.overlap <= 1, "faces.overlap", self.overlap, "more than 0, at most 1")
        require(1 <= self.min_face < 2**16, "faces.min_face", self.min_face, "1 to 65535 pixels")
        require(0 <= self.margin <= 2, "faces.margin", self.margin, "0 to 2")
        require(0 <= self.max_padding < 1, "faces.max_padding", self.max_padding, "0 to less than 1")
        for name in ("max_yaw", "max_roll"):
            require(0 <= getattr(self, name) <= 180, f"faces.{name}", getattr(self, name), "0 to 180 degrees")
        for name in ("min_sharpness", "max_faces"):
            require(0 <= getattr(self, name) < 2**32, f"faces.{name}", getattr(self, name), "0 or more")


@dataclass(frozen=True)
class AutoencoderRecipe:
    """[autoencoder]: the 3072-128-3072 de-noising, dropout, ReLU autoencoder (paper, sec. 4.1.1).

    The paper gives the shape and the kinds of regularisation; every number below is this project's.
    """

    inputs: str = "luma"
    """``luma``: the three channels all carry the luminance, so that neither colours nor their loss change the
    code. ``rgb``: the colours themselves, as in the paper; ``dedup --exact`` uses this."""
    standardise: bool = True
    """Bring every image to mean 0 and standard deviation 1 first, so that brightness and contrast
    do not change the code."""
    noise: str = "mask"
    """Corruption of the input while fitting: ``mask`` (values set to 0) or ``gauss`` (noise added)."""
    noise_level: float = 0.2
    """Share of masked values, or standard deviation of the Gaussian noise in units of the input's."""
    dropout: float = 0.5
    """Share of the 128 code units dropped while fitting."""
    max_images: int = 200_000
    """Fit on a seeded sample of at most so many images."""
    holdout: float = 0.05
    """Share of that sample kept out of fitting, to stop on; at most 2,000 images."""
    batch_size: int = 128
    """Images in one update."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    max_updates: int = 8000
    """Never more updates than this ..."""
    max_epochs: int = 400
    """... and never more passes over the sample."""
    evaluate_every: int = 100
    """Updates between looks at the held-out reconstruction loss."""
    patience: int = 3
    """Stop after so many looks in a row without a loss that is lower by half a percent."""

    def __post_init__(self) -> None:
        require(self.inputs in ("luma", "rgb"), "autoencoder.inputs", self.inputs, "'luma' or 'rgb'")
        require(self.noise in ("mask", "gauss"), "autoencoder.noise", self.noise, "'mask' or 'gauss'")
        require(self.noise_level >= 0, "autoencoder.noise_level", self.noise_level, "0 or more")
        masks_all = self.noise == "mask" and self.noise_level >= 1
        require(not masks_all, "autoencoder.noise_level", self.noise_level, "less than 1 for 'mask'")
        require(0 <= self.dropout < 1, "autoencoder.dropout", self.dropout, "0 or more, less than 1")
        require(0 < self.holdout < 1, "autoencoder.holdout", self.holdout, "between 0 and 1")
        for name in ("max_images", "batch_size", "max_updates", "max_epochs", "evaluate_every", "patience"):
            require(getattr(self, name) >= 1, f"autoencoder.{name}", getattr(self, name), "1 or more")
        require(
            0 < self.learning_rate < 1, "autoencoder.learning_rate", self.learning_rate, "between 0 and 1"
        )


@dataclass(frozen=True)
class DedupRecipe:
    """[dedup]: which images count as the same, and which of them stays."""

    rule: str = "near"
    """``near``: codes find candidates, a check of the pixels decides. ``exact``: all 128 bits collide, as in
    the paper (sec. 4.1.1). ``none``: nothing is removed."""
    threshold: float = 0.73
    """Images whose best alignment scores at least this are copies (``near``)."""
    keep: str = "best"
    """Which copy stays. ``best``: largest source, then clearly sharper, then least compressed, then smallest
    key. ``first``: first in the source. ``FILE:COLUMN``: the highest value of a column of a CSV or parquet
    file with the columns ``key`` and that one, then as ``best``."""
    multiplicity: bool = False
    """Record in the column ``weight`` how many images each kept one stands for."""
    mirror: bool = True
    """Whether mirrored copies are duplicates."""
    min_contrast: float = 4.0
    """Images whose 32x32 pixels have a smaller standard deviation (grey levels, of 255) say too little for
    a code: they are duplicates only if their pixels are equal."""
    radius: int = 16
    """Images are compared when their codes, under some view, differ in at most so many of the 128 bits."""
    zooms: tuple[float, ...] = (0.94, 0.88, 0.8)
    """Views: central parts of the image, as shares of its side."""
    shift: float = 1.5
    """Views: moved by so many pixels of 32 in four directions, also at a zoom of 0.9; 0: none."""
    aspect: float = 1.05
    """Views: stretched by this either way; 1: none."""
    bands: int = 24
    """Bands of code bits in which near codes are looked up."""
    window: int = 16
    """Codes of one crowded bucket that a code is compared with."""
    max_candidates: int = 32
    """Nearest codes of an image whose pixels are checked."""

    def __post_init__(self) -> None:
        require(self.rule in ("near", "exact", "none"), "dedup.rule", self.rule, "'near', 'exact' or 'none'")
        lowest = f"{SCORE_FLOOR} to 1 (pairs that score less are not recorded)"
        require(SCORE_FLOOR <= self.threshold <= 1, "dedup.threshold", self.threshold, lowest)
        named = self.keep in ("best", "first") or bool(self.keep.rpartition(":")[0])
        require(named, "dedup.keep", self.keep, "'best', 'first' or FILE:COLUMN")
        require(self.min_contrast >= 0, "dedup.min_contrast", self.min_contrast, "0 or more")
        require(0 <= self.radius <= 32, "dedup.radius", self.radius, "0 to 32 bits")
        good = all(0.7 <= zoom < 1 for zoom in self.zooms)
        require(good, "dedup.zooms", self.zooms, "shares of the side, 0.7 to less than 1")
        require(0 <= self.shift <= 4, "dedup.shift", self.shift, "0 to 4 pixels")
        require(1 <= self.aspect <= 1.3, "dedup.aspect", self.aspect, "1 to 1.3")
        require(1 <= self.bands <= 128, "dedup.bands", self.bands, "1 to 128")
        for name in ("window", "max_candidates"):
            require(1 <= getattr(self, name) <= 4096, f"dedup.{name}", getattr(self, name), "1 to 4096")


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """BadRequest, naming the field and what is allowed, unless the condition holds."""
    if not condition:
        raise BadRequest(f"{name}: {value!r} is not allowed; expected {expected}")
