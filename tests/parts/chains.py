"""Audit chains made up row by row, as an export holds them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from receiver.store.audit import GENESIS, chained

Row = dict[str, Any]


def chain(length: int) -> list[Row]:
    """A chain of notes."""
    rows: list[Row] = []
    prev = GENESIS
    for number in range(1, length + 1):
        body = json.dumps({"event": "Noted", "text": f"n{number}"})
        row: Row = {
            "seal": number,
            "prev": prev,
            "incident_id": 1 + number % 3,
            "seq": number,
            "at": 1000.0 + number,
            "actor": "carol",
            "kind": "Noted",
            "body": body,
            "body_hash": hashlib.sha256(body.encode()).hexdigest(),
        }
        prev = row["hash"] = chained(prev, number, row)
        rows.append(row)
    return rows
