"""By what a return knows the file that its recipient sent: a MAC under a key that only the two of them learn.

The pipeline keeps no plain hash of an extract, by which somebody could test a guess of its content.
"""

from __future__ import annotations

import hashlib
import hmac

from privacy.keys import KeyRing


def sender_key(keys: KeyRing, source: str, council: str) -> bytes:
    """The key of a sender's files, which a return tells its recipient: it says nothing of another sender's."""
    return keys.subkey("input-mac", f"sender/{source}/{council}")


def sender_mac(key: bytes, sha256: str) -> str:
    """HMAC-SHA256 under a sender's key of the SHA-256 of a file; both hexadecimal."""
    return hmac.digest(key, bytes.fromhex(sha256), hashlib.sha256).hex()
