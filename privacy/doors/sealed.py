"""Sealed Parquet files, which only one holder can read (Parquet modular encryption).

Each file has its own random key (AES-256-GCM over footer, schema, statistics and pages), which is stored in the file,
encrypted to the holder's public key (HPKE, RFC 9180: X25519, HKDF-SHA256, AES-256-GCM). The writer needs no secret and
cannot read the file again.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet
import pyarrow.parquet.encryption as modular
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
# HPKE binds the sealed key to this text, so that one sealed for another purpose cannot be opened.
_INFO = b"readiness sealed Parquet 1"
# The first and last four bytes of a Parquet file say whether its footer is encrypted.
_OPEN_MAGIC, _SEALED_MAGIC = b"PAR1", b"PARE"
_LIMITS = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 16}
"""Limits on the sizes stated in a footer, because a sender's file may state any size."""


class NotForThisKey(Exception):
    """Raised if a file is encrypted to another key, or not encrypted."""


class _Sealing(modular.KmsClient):
    """Encrypts a file's key to a public key, or decrypts it with a private one."""

    def __init__(self, public: X25519PublicKey | None = None, private: X25519PrivateKey | None = None) -> None:
        super().__init__()
        self._public, self._private = public, private

    def wrap_key(self, key: bytes, _: str) -> bytes:
        assert self._public is not None
        return base64.b64encode(_SUITE.encrypt(key, self._public, info=_INFO))

    def unwrap_key(self, wrapped: bytes, _: str) -> bytes:
        assert self._private is not None
        return bytes(_SUITE.decrypt(base64.b64decode(wrapped), self._private, info=_INFO))


def build_encryption(key: X25519PublicKey) -> Any:
    """Return encryption properties for one file that only the holder of the private key can read."""
    # Uniform: the file has one reader, so its columns need no separate keys.
    how = modular.EncryptionConfiguration(
        "holder", uniform_encryption=True, double_wrapping=False, data_key_length_bits=256
    )
    return modular.CryptoFactory(lambda _: _Sealing(public=key)).file_encryption_properties(
        modular.KmsConnectionConfig(), how
    )


def build_process_encryption(key: bytes) -> tuple[Any, Any]:
    """Return encryption and decryption properties for temporary files that only the writing process can read."""
    return modular.create_encryption_properties(key), modular.create_decryption_properties(key)


def open_sealed(source: Path | BinaryIO, key: X25519PrivateKey, **options: Any) -> pyarrow.parquet.ParquetFile:
    """Open a file, with `options` of `ParquetFile`. Raises `NotForThisKey`, and pyarrow's errors if it is damaged."""
    if is_open(source):
        raise NotForThisKey
    factory = modular.CryptoFactory(lambda _: _Sealing(private=key))
    how = factory.file_decryption_properties(modular.KmsConnectionConfig())
    try:
        return pyarrow.parquet.ParquetFile(source, decryption_properties=how, **_LIMITS, **options)
    # HPKE authenticates: the private key of somebody else does not unwrap the key of the file.
    except InvalidTag:
        raise NotForThisKey from None


def is_open(source: Path | BinaryIO) -> bool:
    """Return whether a file is Parquet that anyone can read, without encryption."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return is_open(file)
    start = source.read(len(_OPEN_MAGIC))
    source.seek(0)
    return start == _OPEN_MAGIC


def is_whole(path: Path) -> bool:
    """Return whether `path` is an encrypted file that is not truncated; more cannot be checked without its key."""
    if not path.exists() or path.stat().st_size < 2 * len(_SEALED_MAGIC):
        return False
    with path.open("rb") as file:
        start = file.read(len(_SEALED_MAGIC))
        file.seek(-len(_SEALED_MAGIC), os.SEEK_END)
        return start == file.read() == _SEALED_MAGIC


def read_metadata(file: pyarrow.parquet.ParquetFile) -> Mapping[str, str]:
    """Return the file's key-value metadata."""
    found = file.metadata.metadata or {}
    # Arrow adds its schema itself.
    return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}


def read_schema(file: Any) -> pa.Schema:
    """Return the file's columns without its metadata."""
    return file.schema_arrow.remove_metadata()
