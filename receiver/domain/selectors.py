"""Label selectors of Kubernetes objects: whether they choose something with these labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether all of ``matchLabels`` and ``matchExpressions`` hold; an empty selector chooses everything.

    An operator that this release does not know counts as one that holds.
    """
    equal = (selector.get("matchLabels") or {}).items()
    if any(labels.get(name) != value for name, value in equal):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True
