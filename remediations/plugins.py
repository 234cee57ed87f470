"""Remediations from outside packages, which name them in the entry-point group `stanch.remediations`.

What is installed beside the service is trusted as the service is. It is held to the same form: a spec that
is not well-formed, or a name that is taken, stops the start with a sentence rather than being left out in
silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import entry_points

from receiver.domain.errors import PermanentError
from receiver.domain.plans import Risk, Spec
from receiver.domain.remediation import ClusterReader, DatabaseReader, Remediation

GROUP = "stanch.remediations"
_NAME = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")


@dataclass(frozen=True)
class Plugin:
    """What an entry point names: the spec, and how it is made from the doors that it may read through."""

    spec: Spec
    build: Callable[[ClusterReader, DatabaseReader], Remediation]


@lru_cache(maxsize=1)
def installed() -> tuple[Plugin, ...]:
    """Every plugin that is installed. Raises PermanentError where one cannot be loaded."""
    found: list[Plugin] = []
    for entry in entry_points(group=GROUP):
        try:
            plugin = entry.load()
        except Exception as error:
            raise PermanentError(
                f"the plugin {entry.name} ({entry.value}) cannot be loaded: {error}"
            ) from error
        if not isinstance(plugin, Plugin):
            raise PermanentError(f"the plugin {entry.name} ({entry.value}) is no remediations.plugins.Plugin")
        found.append(plugin)
    return tuple(found)


def checked(own: Iterable[Spec], plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """The plugins, all of them well-formed and with names of their own. Raises PermanentError otherwise."""
    taken = {spec.name for spec in own}
    kept: list[Plugin] = []
    for plugin in plugins:
        problems = [*ill_formed(plugin.spec)]
        if plugin.spec.name in taken:
            problems.append("there is a remediation of that name")
        if problems:
            raise PermanentError(f"the plugin {plugin.spec.name!r} cannot be used: {'; '.join(problems)}")
        taken.add(plugin.spec.name)
        kept.append(plugin)
    return tuple(kept)


def ill_formed(spec: Spec) -> Iterator[str]:
    """What every remediation promises of its spec, and this one does not keep."""
    if not _NAME.fullmatch(spec.name):
        yield "its name is not like place.verb, in small letters and dashes"
    if not spec.sentence.endswith("."):
        yield "its sentence does not end with a full stop"
    if spec.version < 1:
        yield "its version is below 1"
    if spec.settle <= timedelta(0):
        yield "it says nothing of how long it takes to be in place"
    if not spec.writes:
        yield "it declares no right that it writes with"
    if any(right.verb not in ("get", "list") for right in spec.reads):
        yield "it declares reads that are no reads"
    if spec.risk is Risk.READ_ONLY:
        yield "what changes something is not read-only"
    if spec.mitigates and not spec.reversible:
        yield "a mitigation that cannot be put back cannot expire"
    if not spec.target_kinds:
        yield "it acts on nothing"
