"""What a single file is, from its first bytes: a ``.tar`` may be compressed, a ``.dat`` be a zip archive."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

_HEAD = 1024
_MAGIC = {b"PK\3\4": "zip", b"PK\5\6": "zip", b"PK\6\6": "zip", b"PAR1": "parquet", b"MATLAB 5.0": "svhn"}
_LMDB_MAGIC = (0xBEEFC0DE).to_bytes(4, "little")
_CIFAR_NAMES = re.compile(r"data_batch_\d+|test_batch|train|test")
"""Names in CIFAR-10's and CIFAR-100's python version: at its start a pickle says only that it is one."""
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
        return file.read(_HEAD)


def content_format(name: str, head: bytes) -> str:
    """The format of a file that begins with these bytes, one of base.FORMATS; empty if it is none of them."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[16:20] == _LMDB_MAGIC:
        return "lsun"
    if _CIFAR_NAMES.fullmatch(name) and head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "cifar"
    return "tar" if is_tar_start(head) else ""


def compression(head: bytes) -> str:
    """What a file that begins with these bytes is compressed with; empty if with nothing that is known."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), "")


def is_tar_start(head: bytes) -> bool:
    """Whether a file begins as a tar archive does: a header with the right checksum, or a damaged one that
    says ``ustar``. Blocks of zeros alone may be an empty archive, or a download that has not come yet."""
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
