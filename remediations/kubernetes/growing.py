"""What the cures that make volumes larger share: by how much, and which claims may grow at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from pydantic import Field, model_validator

from receiver.domain import plans
from receiver.domain.alerts import parse_time
from receiver.domain.capacity import quota_against
from receiver.domain.claims import Sizes, busy, class_of, last_sized
from receiver.domain.durations import in_words
from receiver.domain.plans import ObjectRef
from receiver.domain.quantities import in_gibibytes, quantity, written
from receiver.domain.remediation import ClusterReader

# Amazon EBS refuses a second modification for so long after the first:
# https://docs.aws.amazon.com/ebs/latest/userguide/modify-volume-requirements.html
LOCKED_FOR = timedelta(hours=6)
LOCKED_NOTE = f"some providers refuse to change it again for {in_words(LOCKED_FOR)} or longer"


class Growth(plans.Parameters):
    """By how much, and how far at most."""

    grow_by_percent: int = Field(
        30,
        ge=0,
        le=100,
        description="By how much of its size it grows, rounded up to whole Gi; by 30, what was 90 % full is "
        "70 % full.",
    )
    at_least: str | None = Field(None, description="At least so large, such as 100Gi, where that is more.")
    most: str = Field(description="Never larger than this, such as 500Gi.")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        most = quantity(self.most)
        if self.at_least is not None and quantity(self.at_least) > most:
            raise ValueError(f"at_least {self.at_least} is more than most {self.most}")
        if self.at_least is None and not self.grow_by_percent:
            raise ValueError("nothing is asked for: add at_least, or a grow_by_percent above 0")
        return self

    def wanted(self, present: Decimal) -> str:
        """The size to ask for, in place of so many bytes."""
        grown = present * (100 + self.grow_by_percent) / 100
        return in_gibibytes(max(grown, quantity(self.at_least or 0)))

    def out_of_bounds(self, present: Decimal, wanted: str) -> str | None:
        """Why that size is none to ask for; None where it is."""
        if quantity(wanted) <= present:
            return f"it has {written(present)} already; {self.at_least} would not be more"
        if quantity(wanted) > quantity(self.most):
            return f"it has {written(present)} and would have {wanted}; the policy allows {self.most}"
        return None


async def storage_class(cluster: ClusterReader, name: str) -> dict[str, Any] | None:
    """The StorageClass of that name; None where there is none, or no name."""
    asked = ObjectRef("storage.k8s.io/v1", "StorageClass", "", name)
    return await cluster.get(asked) if name else None


def cannot_grow(claim: Mapping[str, Any], of_class: Mapping[str, Any] | None, now: datetime) -> str | None:
    """Why this claim does not grow now, whatever the size; ``of_class`` is its StorageClass.

    Raises ValueError where a size or a time of it cannot be read.
    """
    if claim["metadata"].get("deletionTimestamp") is not None:
        return "it is being deleted"
    if (phase := claim.get("status", {}).get("phase")) != "Bound":
        return f"it is {phase or 'not bound'}: only a bound claim can grow"
    name = class_of(claim)
    if not name:
        return "it has no StorageClass, so nothing can grow its volume"
    if of_class is None:
        return f"there is no StorageClass {name}, so whether its volume can grow is not known"
    if of_class.get("allowVolumeExpansion") is not True:
        return f"StorageClass {name} does not allow its volumes to grow (allowVolumeExpansion)"
    return busy(claim) or _too_soon(claim, now)


def _too_soon(claim: Mapping[str, Any], now: datetime) -> str | None:
    hours = in_words(LOCKED_FOR)
    sized = last_sized(claim)
    if sized is None:
        return (
            f"who set its size, and when, is not recorded: whether it grew in the last {hours} is not known"
        )
    grown = sized.at > parse_time(claim["metadata"].get("creationTimestamp"))
    if grown and now - sized.at < LOCKED_FOR:
        age = in_words(now - sized.at)
        # Whoever set the size may have written other fields since, under the same entry.
        said = f"{sized.manager} may have set its size {age} ago"
        return f"{said}; some providers refuse a second change for {hours}"
    return None


def over_quota(quotas: Sequence[Mapping[str, Any]], more: Iterable[tuple[str, Decimal]]) -> str | None:
    """Why so many bytes more are over a quota; each stands beside the name of its StorageClass.

    Raises ValueError where a quota cannot be read.
    """
    asked: dict[str, Decimal] = defaultdict(Decimal)
    for name, amount in more:
        asked["requests.storage"] += amount
        if name:
            asked[f"{name}.storageclass.storage.k8s.io/requests.storage"] += amount
    reason = quota_against(quotas, asked)
    return None if reason is None else f"{written(asked['requests.storage'])} more are too many: {reason}"


def growth(sizes: Sizes, wanted: str) -> Decimal:
    """How many bytes more a quota counts once so much is asked for."""
    return max(quantity(wanted) - sizes.charged, Decimal(0))
