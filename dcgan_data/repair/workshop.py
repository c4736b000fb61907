"""``out/.repair``: where damaged files are made again, and wait until they are proved.

It is laid out as the ``out`` of an unfinished run, so that the drivers work on it as they always do. Good
shards are links to the set's own. A killed repair leaves it; the next one goes on with it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path, flush_to_disk
from dcgan_data.formats.dataset import IMAGES, shard_name
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import stamp_file
from dcgan_data.formats.staging import REPAIR, Staging
from dcgan_data.versions import library_versions


class Workshop:
    """A set's workshop; ``staging`` is that of the run that seems to be in progress in it."""

    def __init__(self, prepared: PreparedSet) -> None:
        self._prepared = prepared
        self.staging = Staging(prepared.path / REPAIR)
        self.path = self.staging.out

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold it, with what a killed repair of the same set made; removed at the end, not by an error."""
        work = {"content_sha256": self._prepared.info.content_sha256, "libraries": library_versions()}
        with locked(self.path, "OUT"):  # waits for workers of a repair that was killed
            if self.staging.read_plan() != work:
                for name in (self.staging.path, self.path / IMAGES):
                    shutil.rmtree(name, ignore_errors=True)
                self.staging.write_plan(work)
            yield
        shutil.rmtree(self.path)

    def link(self, shard: int) -> None:
        """Let a good shard be seen here."""
        link = self.path / shard_name(shard)
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../..") / shard_name(shard))

    def unlink(self, shard: int) -> None:
        """Let a damaged shard not be seen here; one that was made again stays."""
        if (self.path / shard_name(shard)).is_symlink():
            (self.path / shard_name(shard)).unlink()

    def made(self, shard: int) -> bool:
        """Whether a shard was made again and waits here."""
        path = self.path / shard_name(shard)
        return path.is_file() and not path.is_symlink() and self.staging.records(shard).exists()

    def is_right(self, name: str) -> bool:
        """Whether a file that was made here has the bytes that were recorded."""
        return stamp_file(self.path / name) == self._prepared.info.files[name]

    def put_in_place(self, name: str) -> None:
        """Put a proved file over the damaged one; BadInput if something else than a file lies there."""
        target = self._prepared.path / name
        try:
            target.parent.mkdir(exist_ok=True)
            if target.is_dir() and not target.is_symlink():
                target.rmdir()  # an empty one is nobody's; else an error
            _move(self.path / name, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BadInput(f"{error.filename}: lies in the way ({error.strerror}); move it away") from None
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            raise BadInput(f"{target}: a directory that is not empty; move it away") from None


def _move(made: Path, target: Path) -> None:
    try:
        os.replace(made, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as temporary:  # the set's images are linked from another file system
            shutil.copyfile(made, temporary)
        made.unlink()
    flush_to_disk(target.parent)
