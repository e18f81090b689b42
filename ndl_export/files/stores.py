"""Folders behind a URL, in any store that fsspec knows: S3, Azure, a web server, a file system.

A file appears completely or not at all: object stores guarantee that, and elsewhere it is written under a temporary
name first. Credentials come from the environment or the standard files of the store's library, never from a URL. Every
error is a `StoreError` with one sentence that contains neither credentials nor content.
"""

import io
import posixpath
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ndl_export.files.archive import LARGEST
from privacy.doors.files import sync
from privacy.doors.shipped import read_yaml

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MEDIA_TYPES = {
    "cff": "application/yaml",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "md": "text/markdown",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "parquet": "application/vnd.apache.parquet",
    "pem": "application/x-pem-file",
    "py": "text/x-python",
    "sql": "application/sql",
    "tar": "application/x-tar",
    "yaml": "application/yaml",
    "zip": "application/zip",
}
CROISSANT = "http://mlcommons.org/croissant/1.1"
"""The version of Croissant that records conform to."""
_BY_NAME = {
    "SHA256SUMS": "text/plain",
    "croissant.json": f'application/ld+json; profile="{CROISSANT}"',
    "csv-metadata.json": "application/csvm+json",
    "feed.xml": "application/atom+xml",
}
_OTHER = "application/octet-stream"
FOR_EVER = "public, max-age=31536000, immutable"
"""For a file that never changes: a copy is valid for a year."""
ASK_FIRST = "no-cache"
"""For a file that is replaced: a copy may be used after the store confirms that it is unchanged."""

AT_ONCE = 8
"""Simultaneous connections to a store."""
_S3, _AZURE, _WEB = {"s3", "s3a"}, {"abfs", "abfss", "az"}, {"http", "https"}
_WHOLE_AT_ONCE = _S3 | _AZURE | {"memory"}
_OF_THE_EXTRA = _S3 | _AZURE | _WEB
_STAGING = ".sending"
_OK = 200
_CHUNK = 2**20  # bytes read at a time from a web server
_LONGEST = 3600.0
"""Seconds that all reading from a web server may take, if nothing else is said."""

_WHAT: dict[str, str] = read_yaml(Path(__file__).parent / "store_errors.yaml")
"""Explanation of an error by its class or a base class, for every store library; the first match is used."""
_STATUS = {401: _WHAT["ClientAuthenticationError"], 403: _WHAT["PermissionError"], 404: _WHAT["ResourceNotFoundError"]}


class StoreError(Exception):
    """A store cannot be used; the message names it and gives the reason."""


class UnusableAddress(StoreError):
    """A URL does not name a store that can be used here."""


def is_url(place: str) -> bool:
    """Return whether the text is a URL; a path is not."""
    return "://" in place


def hide_query(url: str) -> str:
    """Return the URL without its query, which may contain a key."""
    return url.partition("?")[0]


def get_media_type(name: str) -> str:
    """Return the media type of a published file, as the header Content-Type gives it."""
    last = name.rpartition("/")[2]
    kind = _BY_NAME.get(last) or MEDIA_TYPES.get(last.rpartition(".")[2], _OTHER)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class Allowance:
    """What may be read from a web server, over all files together: bytes, and seconds from now on."""

    def __init__(self, most_bytes: int = LARGEST, seconds: float = _LONGEST) -> None:
        self._left, self._until, self._lock = most_bytes, time.monotonic() + seconds, Lock()

    def get_seconds(self) -> float:
        """Return the seconds that are left. Raises `StoreError` if there are none."""
        if (left := self._until - time.monotonic()) <= 0:
            raise StoreError("reading it takes too long, so no more was read")
        return left

    def take(self, size: int) -> None:
        """Count bytes that were read. Raises `StoreError` if they are too many, or came too late."""
        self.get_seconds()
        with self._lock:
            self._left -= size
            if self._left < 0:
                raise StoreError("it holds more bytes than releases have, so no more was read")


@dataclass(frozen=True)
class Store:
    """A folder in a store: `url` is for messages, `root` is its path in `system`. File names are relative to it."""

    url: str
    protocol: str
    system: "AbstractFileSystem"
    root: str
    query: str = ""
    allowance: Allowance = field(default_factory=Allowance)
    """What may be read if it is a web server, whose owner may be anybody."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file's content; None if it is missing. Raises `StoreError`, also above `limit` bytes."""
        with explain_errors(self.format_address(name)):
            try:
                if self.protocol in _WEB:
                    return self._stream(name, limit)
                if self.system.info(self._build_path(name))["size"] > limit:
                    raise self._build_size_error(name, limit)
                content: bytes = self.system.cat_file(self._build_path(name))
                return content
            except FileNotFoundError:
                return None

    def read_all(self, names: Iterable[str], limit: int) -> dict[str, bytes | None]:
        """Return the content of several files, read in parallel; None for a missing file. Raises `StoreError`."""
        wanted = list(names)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(lambda name: self.read(name, limit), wanted), strict=True))

    def _stream(self, name: str, limit: int) -> bytes:
        """Read a file from a web server, which may not announce its size."""
        from aiohttp import ClientTimeout  # imported here because it comes with the extra

        content = io.BytesIO()
        how = {
            # Another address may be inside the reader's network, and what is there must not reach a message.
            "allow_redirects": False,
            # A thousandth of what it unpacks to may arrive, so nothing compressed is asked for or unpacked.
            "headers": {"Accept-Encoding": "identity"},
            "auto_decompress": False,
            # Over the whole answer, because a server may send its head one byte at a time.
            "timeout": ClientTimeout(total=self.allowance.get_seconds()),
        }
        # Without a size, fsspec asks for it first, and then an unreachable server looks like one without the file.
        with self.system.open(self._build_path(name) + self.query, "rb", block_size=0, size=1, **how) as file:
            if file.r.status != _OK:
                raise self._build_refusal(name, "leads to another address, which is not followed")
            if file.r.headers.get("Content-Encoding", "identity") != "identity":
                raise self._build_refusal(name, "is sent compressed, which was not asked for")
            while part := file.read(_CHUNK):
                self.allowance.take(len(part))
                content.write(part)
                if content.tell() > limit:
                    raise self._build_size_error(name, limit)
        return content.getvalue()

    def _build_refusal(self, name: str, why: str) -> StoreError:
        return StoreError(f"{self.format_address(name)} {why}, so it was not read")

    def _build_size_error(self, name: str, limit: int) -> StoreError:
        return self._build_refusal(name, f"is larger than {limit:,} bytes")

    def list_sizes(self, folder: str = "") -> dict[str, int] | None:
        """Return the size in bytes of every file by name; None if the store cannot list files. Raises `StoreError`."""
        if self.protocol in _WEB:
            return None
        with explain_errors(self.url):
            # A listing that fsspec kept would miss what another publisher has sent since.
            self.system.invalidate_cache()
            found = self.system.find(self._build_path(folder), detail=True)
        start = f"{self.root.strip('/')}/"
        # Paths begin with a slash in a file system, and without one in an object store.
        sizes = {path.lstrip("/").removeprefix(start): int(each["size"]) for path, each in found.items()}
        return {name: size for name, size in sizes.items() if name and not name.startswith((_STAGING, start))}

    def put(self, name: str, content: bytes, *, changes: bool) -> None:
        """Write a file in one step, replacing an existing one; `changes` says whether it is ever replaced.

        Object stores keep its media type, and how long a copy may be cached. Raises `StoreError`.
        """
        place, kind, caching = self._build_path(name), get_media_type(name), ASK_FIRST if changes else FOR_EVER
        headers: dict[str, Any] = {}
        if self.protocol in _S3:
            headers = {"ContentType": kind, "CacheControl": caching}
        elif self.protocol in _AZURE:
            headers = {"content_settings": {"content_type": kind, "cache_control": caching}}
        with explain_errors(self.format_address(name)):
            if self.protocol in _WHOLE_AT_ONCE:
                self.system.pipe_file(place, content, **headers)
                return
            staged = self._build_path(f"{_STAGING}/{uuid.uuid4().hex}")
            for folder in (posixpath.dirname(staged), posixpath.dirname(place)):
                self.system.makedirs(folder, exist_ok=True)
            self.system.pipe_file(staged, content)
            if self.protocol == "file":
                Path(staged).chmod(0o644)
                sync(Path(staged))
            self.system.mv(staged, place)
            if self.protocol == "file":
                sync(Path(place).parent)

    def remove(self, name: str) -> None:
        """Delete a file. Raises `StoreError`."""
        with explain_errors(self.format_address(name)):
            self.system.rm_file(self._build_path(name))

    def clear(self) -> None:
        """Delete the temporary files of processes that were interrupted. Raises `StoreError`."""
        if self.protocol not in _WHOLE_AT_ONCE:
            with explain_errors(self.url):
                if self.system.exists(self._build_path(_STAGING)):
                    self.system.rm(self._build_path(_STAGING), recursive=True)

    def format_address(self, name: str) -> str:
        """Return the name of a file in messages."""
        return f"{self.url}/{name}" if name else self.url

    def _build_path(self, name: str) -> str:
        return posixpath.join(self.root, name) if name else self.root


def open_store(url: str, *, to_write: bool = False, allowance: Allowance | None = None) -> Store:
    """Open the folder at a URL or a local path; `allowance` limits reading from the web. Raises `StoreError`."""
    import fsspec  # imported here because a run with neither a store nor a URL needs none

    protocol = url.partition("://")[0].lower() if is_url(url) else "file"
    query = f"?{urlsplit(url).query}" if protocol in _WEB and "?" in url else ""
    _check(url, protocol, to_write)
    plain = hide_query(url) if protocol in _WEB else url
    with explain_errors(hide_query(url)):
        try:
            system, root = fsspec.url_to_fs(plain, use_listings_cache=False)
        except ImportError as error:
            how = "uv sync --inexact --extra publish" if protocol in _OF_THE_EXTRA else error
            raise StoreError(f"the library for {protocol}:// is not installed: {how}") from None
        except ValueError:
            if protocol in fsspec.available_protocols():
                raise StoreError(f"{url}: {_WHAT['NoCredentialsError']}, or its address is not complete") from None
            raise UnusableAddress(f"no kind of store is called {protocol}:// — use file, s3 or abfs") from None
    return Store(plain.rstrip("/"), protocol, system, root.rstrip("/") or root, query, allowance or Allowance())


def _check(url: str, protocol: str, to_write: bool) -> None:
    before, at, _ = url.partition("://")[2].partition("@")
    # Azure writes abfs://container@account, so an @ without a colon before it is no credential.
    if (at and ":" in before) or ("?" in url and (to_write or protocol not in _WEB)):
        raise UnusableAddress(
            "a URL must not hold credentials: give them in the environment, as the store's library asks"
        )
    if "::" in url:
        raise UnusableAddress("a URL of several protocols joined by :: is not supported: give that of the store itself")
    if to_write and protocol in _WEB:
        raise UnusableAddress(f"{url} is a web address, which can only be read: give that of the store behind it")


@contextmanager
def explain_errors(place: str) -> Iterator[None]:
    """Turn every error in the block into a `StoreError` with a sentence about the place."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        # By name, because the stores' libraries are an extra that need not be installed.
        kinds = [kind.__name__ for kind in type(error).__mro__]
        status: Any = getattr(error, "status_code", None) or getattr(error, "status", None)
        why = _STATUS.get(status) or next((_WHAT[kind] for kind in kinds if kind in _WHAT), "")
        why = why or (isinstance(error, OSError) and error.strerror) or ""
        why = why or f"it failed with an error of the kind {kinds[0]}" + (f", HTTP status {status}" if status else "")
        raise StoreError(f"{place}: {why}") from error
