"""A repair in progress, and what its steps share: what is damaged, what was rebuilt, what could not be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from dcgan_data.deduplicate import ImageSet
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import INDEX, REMEDY, shard_name
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.recipe import Recipe, recipe_from_dict
from dcgan_data.repair.workshop import Workshop
from dcgan_data.reporter import Reporter
from dcgan_data.sources import open_source
from dcgan_data.sources.base import Source, SourceOptions
from dcgan_data.sources.location import Location, parse_location
from dcgan_data.versions import library_versions


@dataclass
class Mending:
    """A repair in progress."""

    prepared: PreparedSet
    """The set; its index is whole."""
    damaged: dict[str, str]
    """What was found to be wrong with each damaged file."""
    source: Location | None
    """Where the source is by now, or another copy of the set; None: where the index says."""
    workers: int
    """Processes."""
    memory: int
    """Bytes that a search may use; 0: no limit."""
    reporter: Reporter
    """Who is told."""
    rebuilt: list[str] = field(default_factory=list)
    """Files that were put in place."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why each of the others could not be rebuilt."""

    @cached_property
    def workshop(self) -> Workshop:
        """Where files are made again."""
        return Workshop(self.prepared)

    @cached_property
    def recipe(self) -> Recipe:
        """The set's own."""
        return recipe_from_dict(self.prepared.info.recipe)

    @property
    def images(self) -> ImageSet:
        """All images of the set, as seen from the workshop."""
        info = self.prepared.info
        return ImageSet(self.workshop.staging, info.shard_rows, info.image_size)

    def is_bad(self, name: str) -> bool:
        """Whether a file is still damaged."""
        return name in self.damaged and name not in self.rebuilt

    def is_open(self, name: str) -> bool:
        """Whether a file is still to be rebuilt."""
        return self.is_bad(name) and name not in self.failed

    def bad_shards(self) -> list[int]:
        """Numbers of the shards that are still damaged."""
        return [n for n in range(len(self.prepared.info.shard_rows)) if self.is_bad(shard_name(n))]

    def finish(self, name: str) -> None:
        """Put a file in place that was made in the workshop and is proved."""
        try:
            self.workshop.put_in_place(name)
        except BadInput as error:
            self.failed[name] = str(error)
            return
        self.rebuilt.append(name)
        self.reporter.say(f"{self.prepared.path / name}: rebuilt")

    def fail(self, names: list[str], why: str) -> None:
        """Note why some files, of those still to be rebuilt, cannot be."""
        self.failed |= {name: why for name in names if self.is_open(name)}

    def came_out_otherwise(self) -> str:
        """Why a file that was made again may have other bytes than recorded, and what to do."""
        there, here = self.prepared.info.libraries, library_versions()
        changed = [f"{name} (then {there[name]}, now {here.get(name)})" for name in there]
        changed = [text for name, text in zip(there, changed, strict=True) if there[name] != here.get(name)]
        cause = f"other versions: {', '.join(changed)}" if changed else "perhaps for another processor"
        return (
            f"made again, it is not what {INDEX} says, {cause}; repair it where the set was made, or {REMEDY}"
        )

    @cached_property
    def opened_source(self) -> Source:
        """The source that the set was made from; BadInput if it cannot be read or is another one."""
        info, wanted = self.prepared.info, self.recipe.source
        path = parse_location(info.source["path"]) if self.source is None else self.source
        options = SourceOptions(info.source["kind"], wanted.image_column, wanted.label_column)
        index = read_source_index(self.prepared.path)
        try:
            source = open_source(path, self.recipe.records_per_shard, wanted.limit, options, index)
        except (BadInput, BadRequest) as error:
            raise BadInput(
                f"its source cannot be read ({error}); if it was moved, say where to with --source"
            ) from None
        if source.fingerprint != info.source["fingerprint"]:
            raise BadInput(
                f"{path}: is not the source that the set was made from, or was changed since (its records' "
                "keys or sizes are others); give the right one with --source"
            )
        return source
