"""Records that end the process which decodes them: found by the notes of the dead, and rejected.

The shard of a process that died is done again in a process of its own. One death proves nothing: memory was
short, or somebody killed the process. A record at which the process dies twice running is rejected, and
the shard is done again without it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dcgan_data.errors import BadInput
from dcgan_data.formats.staging import Staging
from dcgan_data.parallel import Deaths
from dcgan_data.record_note import Place, read_place

TOO_SLOW = "too_slow"
WORKER_DIED = "worker_died"
_MOST_DEATHS = 3
"""Of one shard, without a record to blame."""


class ShardDeaths(Deaths):
    """What is done about shards whose process died."""

    def __init__(
        self, staging: Staging, shards: Sequence[int], max_seconds: float, own_process: Collection[int]
    ) -> None:
        """shards: the shard of each task; max_seconds: the limit for a record, 0 for none."""
        super().__init__([f"shard {shard}" for shard in shards], own_process)
        self._staging = staging
        self._shards = shards
        self._max_seconds = max_seconds
        self._places: dict[int, list[Place | None]] = {}

    def suspect(self, number: int) -> str:
        """Remember where the process of a shard was."""
        place = self._remember(number)
        return f"a record took over {self._max_seconds:g} seconds" if place and place.slow else ""

    def died_again(self, number: int) -> str:
        """Reject the record if it is the same as before; BadInput if that happens at ever other places."""
        before, place = self._places[number][-1], self._remember(number)
        if place and before and place.decoding and place.record == before.record:
            self._places[number] = [None]  # the next death is another record's
            return self._reject(number, place)
        if len(self._places[number]) == _MOST_DEATHS:
            raise BadInput(self._no_record_to_blame(number))
        return f"{self.name(number)}: its process died again; trying once more"

    def _remember(self, number: int) -> Place | None:
        place = read_place(self._staging.note(self._shards[number]))
        self._places.setdefault(number, []).append(place)
        return place

    def _reject(self, number: int, place: Place) -> str:
        if place.slow:
            reason = f"{TOO_SLOW}: over {self._max_seconds:g} seconds"
            hint = "a larger [image] max_seconds in the recipe, and --overwrite, give it more time"
        else:
            reason = f"{WORKER_DIED}: it ended the process that decoded it, twice"
            hint = "if memory was short, make the set again with more of it and --overwrite"
        self._staging.reject_record(self._shards[number], place.record, reason)
        return (
            f"{self.name(number)}: record {place.record}, counted from 0, is rejected ({reason}; {hint}); "
            "trying again without it"
        )

    def _no_record_to_blame(self, number: int) -> str:
        deaths = self._places[number]
        if all(place and not place.decoding for place in deaths):
            cause = "while it read or wrote; the source may be damaged, such as a database that was cut short"
            remedy = "look at the source, or fetch it again"
        elif all(place and place.slow for place in deaths):
            cause = f"each time at another record that took over {self._max_seconds:g} seconds"
            remedy = "use fewer --workers, or allow more time with [image] max_seconds in a recipe"
        else:
            cause = "each time at another record, perhaps for lack of memory"
            remedy = "free memory"
        return (
            f"{self.name(number)}: the process that worked on it died {len(deaths)} times, {cause}; "
            f"what is finished is kept: {remedy}, and run the same command again"
        )
