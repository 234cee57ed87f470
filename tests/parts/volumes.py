"""Claims as an API server shows them, for tables: the usual one, and what is different about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from builders import rfc3339

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CLASS = {"metadata": {"name": "fast"}, "allowVolumeExpansion": True}


def wrote_size(manager: str, at: datetime, **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:resources": {"f:requests": {".": {}, "f:storage": {}}}}}
    return {"manager": manager, "operation": "Update", "time": rfc3339(at), "fieldsV1": fields, **more}


CREATED = NOW - timedelta(days=30)


def claim(
    *,
    metadata: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    size: str = "100Gi",
) -> dict[str, Any]:
    """A bound claim of a hundred Gi that nobody touched since it was made, and what is different."""
    return {
        "metadata": {
            "name": "data",
            "namespace": "shop",
            "uid": "c",
            "creationTimestamp": rfc3339(CREATED),
            "managedFields": [wrote_size("kubectl-create", CREATED)],
            **(metadata or {}),
        },
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}, **(spec or {})},
        "status": {"phase": "Bound", "capacity": {"storage": size}, **(status or {})},
    }


def condition(kind: str, status: str = "True", message: str = "") -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, "message": message}]}


def quota(hard: Mapping[str, str], used: Mapping[str, str]) -> dict[str, Any]:
    return {"quotas": [{"metadata": {"name": "team"}, "spec": {"hard": hard}, "status": {"used": used}}]}
