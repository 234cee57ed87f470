"""What a policy may name that no file says: probes with their facts, remediations with their parameters.

For the editor's schema and the reference page. Names that are not among these may come from elsewhere, so
both only suggest them; whether one exists is told when files are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from receiver.domain.plans import Spec
from receiver.policy.conditions import kind_name


class Suggested(StrEnum):
    """Which names are meant."""

    PROBE = "probe"
    REMEDIATION = "remediation"
    PARAMETER = "parameter"


@dataclass(frozen=True)
class Fact:
    """One fact of a probe: its path below the name that the policy gives it, and what it may be."""

    path: str
    kind: str
    sample: Any


@dataclass(frozen=True)
class Vocabulary:
    """The remediations by name, and the facts of each probe as samples."""

    catalogue: Mapping[str, Spec]
    probe_facts: Mapping[str, Mapping[str, Any]]

    def names(self, of: Suggested) -> tuple[str, ...]:
        """All names of one kind."""
        match of:
            case Suggested.PROBE:
                return tuple(self.probe_facts)
            case Suggested.REMEDIATION:
                return tuple(self.catalogue)
            case Suggested.PARAMETER:
                return tuple(
                    dict.fromkeys(name for spec in self.catalogue.values() for name in parameters_of(spec))
                )


def parameters_of(spec: Spec) -> Mapping[str, str]:
    """The parameters of a remediation, each with its sentence."""
    return {name: info.description or "" for name, info in spec.parameters.model_fields.items()}


def facts_of(facts: Mapping[str, Any], above: str = "") -> Iterator[Fact]:
    """Every fact of a probe, those inside objects with their path."""
    for name, sample in facts.items():
        if isinstance(sample, Mapping):
            yield from facts_of(sample, f"{above}{name}.")
        else:
            kind = "true or false" if isinstance(sample, bool) else kind_name(sample)
            yield Fact(f"{above}{name}", kind, sample)
