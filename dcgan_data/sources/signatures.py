"""What a single file is, from its first bytes: a ``.tar`` may be compressed, a ``.dat`` be a zip archive."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from dcgan_data.sources.location import Location
from dcgan_data.sources.zip_directory import ends_with_directory

_MOST_EMPTY_TAR = 20 * tarfile.BLOCKSIZE
"""What tools write when there is nothing to archive. More zeros are a download that has not come yet."""
HEAD_BYTES = _MOST_EMPTY_TAR + 1
"""What tells a format."""
_MAGIC = {b"PK\3\4": "zip", b"PK\5\6": "zip", b"PK\6\6": "zip", b"PAR1": "parquet", b"MATLAB 5.0": "svhn"}
_LMDB_MAGIC = (0xBEEFC0DE).to_bytes(4, "little")
_CIFAR_NAMES = re.compile(r"data_batch_\d+|test_batch|train|test")
"""Names in CIFAR-10's and CIFAR-100's python version: at its start a pickle says only that it is one."""
_CIFAR_100_NAMES = ("train", "test")
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x1f\x9d": "compress",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
}


def read_head(path: Path) -> bytes:
    """The first bytes of a file, enough for the functions below."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def content_format(name: str, head: bytes) -> str:
    """The format of a file that begins with these bytes, one of base.FORMATS; empty if it is none of them."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[16:20] == _LMDB_MAGIC:
        return "lsun"
    if _CIFAR_NAMES.fullmatch(name) and head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "cifar"
    empty = name.lower().endswith(".tar") and _is_empty_tar(head)
    return "tar" if empty or is_tar_start(head) else ""


def has_zip_end(path: Path) -> bool:
    """Whether a file ends as a zip archive does, whatever it begins with: a program that unpacks it, say."""
    with path.open("rb") as file:
        return ends_with_directory(file)


def is_batch_name(path: Path) -> bool:
    """Whether a file is named as CIFAR's batches are. Much else is named ``train`` and ``test``: these count
    only beside CIFAR-100's ``meta``."""
    if path.name in _CIFAR_100_NAMES:
        return (path.parent / "meta").exists()
    return bool(_CIFAR_NAMES.fullmatch(path.name))


def compression(head: bytes) -> str:
    """What a file that begins with these bytes is compressed with; empty if with nothing that is known."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), "")


def compressed_message(path: Location, head: bytes) -> str:
    """What to say of a compressed file."""
    return (
        f"{path}: compressed ({compression(head)}), so that it cannot be read by range; "
        "decompress it first (a tar need not be unpacked)"
    )


def is_tar_start(head: bytes) -> bool:
    """Whether a file begins as a tar archive does: a header with the right checksum, or a damaged one that
    says ``ustar``."""
    block = head[: tarfile.BLOCKSIZE]
    if len(block) < tarfile.BLOCKSIZE:
        return False
    if block[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_empty_tar(head: bytes) -> bool:
    """Whether a file that begins so is nothing but the blocks of zeros that end an archive."""
    if not 2 * tarfile.BLOCKSIZE <= len(head) <= _MOST_EMPTY_TAR or len(head) % tarfile.BLOCKSIZE:
        return False
    return not head.strip(b"\0")
