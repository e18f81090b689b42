"""HTTP headers of a published file: its media type, and how long a copy may be cached."""

from dataclasses import dataclass

MEDIA_TYPES = {
    "cff": "application/yaml",
    "csv": "text/csv",
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
PAGE_TYPE = {"html": "text/html"}
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


@dataclass(frozen=True)
class Served:
    """The HTTP headers Content-Type and Cache-Control."""

    media_type: str
    caching: str


def get_headers(name: str, *, changes: bool) -> Served:
    """Return the headers of the file; `changes` says whether it is ever replaced."""
    last = name.rpartition("/")[2]
    kind = _BY_NAME.get(last) or (MEDIA_TYPES | PAGE_TYPE).get(last.rpartition(".")[2], _OTHER)
    return Served(f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, ASK_FIRST if changes else FOR_EVER)
