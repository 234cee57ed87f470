"""One byte string for one value, for everything that is hashed: digests, identities, the audit chain."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# Made once: `json.dumps` makes one for each call, and every alert that arrives is written this way.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; equal values give equal text."""
    return _ENCODER.encode(value)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical text, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
