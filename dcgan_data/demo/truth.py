"""``truth.json`` beside a demo LMDB: which records are copies of which, and how to score a deduplication."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dcgan_data.demo.plant import KINDS, PlantedCopy
from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.plain import build, read_object

TRUTH = "truth.json"
_SCHEMA_VERSION = 1  # raised when the same parameters no longer give the same images


@dataclass(frozen=True)
class DemoScore:
    """How a deduplication did on a demo set."""

    planted: Mapping[str, int]
    """Copies that were planted, by kind; only kinds that occur."""
    found: Mapping[str, int]
    """Copies that were found, by kind; the same kinds as ``planted``."""
    wrong: tuple[str, ...]
    """Keys that were removed in favour of an image that they are no copy of, sorted."""

    @property
    def recall(self) -> dict[str, float]:
        """Share of the planted copies that were found, 0..1, by kind."""
        return {kind: self.found[kind] / planted for kind, planted in self.planted.items()}


@dataclass(frozen=True)
class DemoTruth:
    """What is known about a demo set."""

    count: int
    """Records in the LMDB, copies included."""
    seed: int
    """What the set was drawn from."""
    copy_share: float
    """Share of the records that are copies, as asked for."""
    copies: Mapping[str, PlantedCopy]
    """Key of every copy -> what it is a copy of."""

    def family(self, key: str) -> str:
        """The key of the original that an image is a copy of, or is itself."""
        return self.copies[key].original if key in self.copies else key

    def score(self, duplicate_of: Mapping[str, str]) -> DemoScore:
        """Compare removed images with the truth.

        duplicate_of: key of every removed image -> key of the kept image in whose favour it was removed.
        An original and its copies are one family. A removal within a family finds one copy: the removed
        image if that is a copy, else (the original was removed) the copy kept in its place. A family of n
        therefore has at most n - 1 to find, whichever member is kept. Any other removal is wrong.
        """
        found, wrong = set[str](), []
        for removed, kept in duplicate_of.items():
            if removed == kept or self.family(removed) != self.family(kept):
                wrong.append(removed)
            else:
                found.add(removed if removed in self.copies else kept)
        planted = Counter(copy.kind for copy in self.copies.values())
        counted = Counter(self.copies[key].kind for key in found)
        kinds = [kind for kind in KINDS if planted[kind]]
        return DemoScore(
            planted={kind: planted[kind] for kind in kinds},
            found={kind: counted[kind] for kind in kinds},
            wrong=tuple(sorted(wrong)),
        )


def write_truth(directory: Path, truth: DemoTruth) -> None:
    """Write ``truth.json`` into a demo set's directory, atomically."""
    write_json(directory / TRUTH, {"schema_version": _SCHEMA_VERSION, **asdict(truth)})


def load_truth(path: Path) -> DemoTruth:
    """Read the truth of the demo set in the directory ``path``.

    Raises BadInput if there is none, or if it is damaged or of another version.
    """
    source = path / TRUTH
    try:
        raw = read_object(source)
        version = raw["schema_version"]
        if version != _SCHEMA_VERSION:
            raise BadInput(
                f"{source}: schema version {version}, this program reads {_SCHEMA_VERSION}; "
                "draw the demo set again"
            )
        return build(DemoTruth, raw)
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{path}: not a demo set, it has no {TRUTH}; 'dcgan-data demo' draws one") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInput(
            f"{source}: damaged ({type(error).__name__}: {error}); draw the demo set again"
        ) from None
