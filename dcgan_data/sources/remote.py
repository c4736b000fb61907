"""Objects at a URL, through fsspec: opened, listed, and what is said when that fails.

fsspec finds credentials and proxies by the means of the library of each store, and repeats what failed.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.sources.location import Url

Stamp = tuple[int, int]
"""Size, and a number that changes when the content does: for a file its time of change (ns)."""

_CONNECT_S, _SILENCE_S = 10, 60
"""How long a host may take to answer at all, and between two bytes."""
_LIBRARIES = {
    "s3": ("s3fs", ("botocore.exceptions:BotoCoreError", "botocore.exceptions:ClientError")),
    "gs": ("gcsfs", ("google.auth.exceptions:GoogleAuthError", "gcsfs.retry:HttpError")),
    "https": ("aiohttp", ()),
    "http": ("aiohttp", ()),
}
"""What reads each protocol, and its errors beside OSError and aiohttp's."""
_VERSIONS = (
    "ETag",
    "etag",
    "generation",
    "md5Hash",
    "Content-MD5",
    "Digest",
    "Last-Modified",
    "LastModified",
)
"""Names under which the libraries give what tells an object from another of its name, the best first."""
_CREDENTIALS = {
    "s3": "give them as the AWS tools expect them (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY); for a public bucket set FSSPEC_S3_ANON=true",
    "gs": "give them with 'gcloud auth application-default login' or GOOGLE_APPLICATION_CREDENTIALS; "
    "for a public bucket set FSSPEC_GS_TOKEN=anon",
}
_NO_PARTS = "its server gives no parts of a file; copy it to a local disk first"
_OTHER_CREDENTIALS = "use an address that may be read, such as a newly signed one"


def file_system(url: Url) -> Any:
    """fsspec's file system for a URL, without caches: what it says of an object is true now.

    It belongs to this process. BadRequest if its library is not installed.
    """
    library = _LIBRARIES[url.protocol][0]
    try:
        fsspec: Any = importlib.import_module("fsspec")
        importlib.import_module(library)
    except ImportError:
        raise BadRequest(
            f"{url}: {library} not installed; pip install 'dcgan-data[remote]', or copy it to a local disk"
        ) from None
    logger = logging.getLogger(library)
    if not logger.handlers:  # what it logs is raised as well; without a handler it would go to stderr
        logger.addHandler(logging.NullHandler())
    options: dict[str, Any] = {"use_listings_cache": False}
    if not url.has_buckets:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        options |= {"client_kwargs": {"timeout": timeout}, "encoded": "%" in url.address}
    return fsspec.filesystem(url.protocol, **options)


@contextmanager
def explained(url: Url) -> Iterator[None]:
    """Turn what the libraries raise into BadInput with the URL and the reason, and without any secret."""
    try:
        yield
    except _failures(url) as error:
        raise BadInput(f"{url}: {_reason(url, error)}") from None


def object_stamp(url: Url) -> Stamp:
    """One request. BadInput if there is no such object, or it may not be read."""
    with explained(url):
        return _stamp(file_system(url).info(url.address))


def open_object(url: Url) -> tuple[Any, Stamp]:
    """fsspec's file for an object, without a cache, and the object's stamp; one request."""
    with explained(url):
        system = file_system(url)
        if url.has_buckets:
            file = system.open(url.address, "rb", cache_type="none")
            return file, _stamp(file.details)
        details = system.info(url.address)
        if details["size"] is None or not details.get("partial", True):
            raise BadInput(f"{url}: {_NO_PARTS}")
        return system.open(url.address, "rb", cache_type="none", size=details["size"]), _stamp(details)


def _stamp(details: dict[str, Any]) -> Stamp:
    """What a store says of an object as two numbers."""
    version = next((str(details[name]) for name in _VERSIONS if details.get(name)), "")
    digest = hashlib.sha256(version.encode()).digest()
    return int(details.get("size") or 0), int.from_bytes(digest[:7], "little")


def _failures(url: Url) -> tuple[type[Exception], ...]:
    """What may be raised by the libraries, which are loaded by now or cannot be."""
    found: list[type[Exception]] = [OSError, ValueError]
    for name in (*_LIBRARIES[url.protocol][1], "aiohttp:ClientError"):
        module, _, error = name.partition(":")
        try:
            found.append(getattr(importlib.import_module(module), error))
        except ImportError:
            continue
    return tuple(found)


def _reason(url: Url, error: BaseException) -> str:
    """What is wrong, and what to do."""
    chain = list(_chain(error))
    kinds = {kind.__name__ for link in chain for kind in type(link).__mro__}
    codes = {_status(link) for link in chain}
    credentials = _CREDENTIALS.get(url.protocol, _OTHER_CREDENTIALS)
    if kinds & {
        "NoCredentialsError",
        "PartialCredentialsError",
        "DefaultCredentialsError",
        "ProfileNotFound",
    }:
        return f"no credentials were found; {credentials}"
    if codes & {401, 403} or "PermissionError" in kinds:
        return f"access denied ({401 if 401 in codes else 403}); {credentials}"
    if kinds & {"FileExpired"} or 412 in codes:
        return "changed since this run began; leave it as it is and run again"
    if kinds & {"EndpointConnectionError", "ClientConnectorError", "gaierror", "ConnectTimeoutError"}:
        return (
            "the host cannot be reached; check the address and the network, then run the same command again"
        )
    if "TimeoutError" in kinds or "ReadTimeoutError" in kinds:
        return "the host does not answer in time; run the same command again to go on"
    if codes - {0, 404}:
        return f"cannot be read (status {max(codes)}); run the same command again to go on"
    if 404 in codes or "FileNotFoundError" in kinds:
        return "no such object (404); check the address"
    if "range requests" in str(error):
        return _NO_PARTS
    # The texts of those that speak HTTP hold the address, which may hold a secret.
    text = " ".join(str(error).split())[:160] if url.has_buckets else type(error).__name__
    return f"cannot be read ({text}); run the same command again to go on"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int:
    """The status of an answer of HTTP that an error tells of; 0 if it tells of none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return int(status) if isinstance(status, int | str) and str(status).isdigit() else 0
