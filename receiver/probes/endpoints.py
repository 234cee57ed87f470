"""`status-page`, `health` and `circuit-breakers`: what a few named endpoints outside the cluster say.

The playbook's `curl` of status pages and breakers (rows 001.3a, 006.T1, 006.T2). A status page tells late and
is kind to its owner: it corroborates what the own success metrics say, and decides nothing alone. What
does not read as it should leaves the facts missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from receiver.domain.backends import words
from receiver.domain.endpoints import EndpointKind
from receiver.domain.errors import TemporaryError
from receiver.domain.remediation import EndpointReader

# What conditions may use, with a sample value of the right kind: policies are checked against this.
STATUS_PAGE: Mapping[str, Any] = {
    "indicator": "major",
    "level": 2,
    "affected": 1,
    "components": [{"name": "API", "status": "partial_outage"}],
}
HEALTH: Mapping[str, Any] = {"status": 200, "ok": True, "milliseconds": 12.5}
BREAKERS: Mapping[str, Any] = {
    "count": 3,
    "open": 1,
    "halfOpen": 0,
    "off": 0,
    "breakers": [{"name": "openai", "state": "open"}],
}
# Statuspage's own words, the harmless one first: https://www.atlassian.com/software/statuspage (API v2).
INDICATORS = ("none", "minor", "major", "critical")
WELL = "operational"
# What libraries call it, resilience4j's words among them; one that is off lets every call through.
_STATES = {
    "closed": "closed",
    "open": "open",
    "forced-open": "open",
    "half-open": "half-open",
    "disabled": "off",
    "metrics-only": "off",
}
_WRAPPINGS = ("breakers", "circuitBreakers")
SHOWN = 50


async def status_page(endpoints: EndpointReader, endpoint: str) -> dict[str, Any]:
    """How its owner says that a service is. Raises TemporaryError where the answer is no status page."""
    answered = await endpoints.ask(endpoint, EndpointKind.STATUS_PAGE)
    return _or_missing(endpoint, page_of(answered.document))


async def health(endpoints: EndpointReader, endpoint: str) -> dict[str, Any]:
    """Whether an address answers, how fast, and with which status. No answer is no fact."""
    answered = await endpoints.ask(endpoint, EndpointKind.HEALTH)
    return {
        "status": answered.status,
        "ok": answered.well,
        "milliseconds": answered.milliseconds,
    }


async def circuit_breakers(endpoints: EndpointReader, endpoint: str) -> dict[str, Any]:
    """Which circuit breakers are open. Raises TemporaryError where the answer does not tell."""
    answered = await endpoints.ask(endpoint, EndpointKind.CIRCUIT_BREAKERS)
    return _or_missing(endpoint, breakers_of(answered.document))


def page_of(document: Any) -> dict[str, Any] | str:
    """The facts of a Statuspage's `status.json` or `summary.json`, or why it is none; pure.

    ``components`` and how many are ``affected`` are there where the page tells of them, those that ail first.
    """
    page = _table(document)
    indicator = _table(page.get("status")).get("indicator")
    if indicator not in INDICATORS:
        return f"its status.indicator is none of {', '.join(INDICATORS)}"
    facts: dict[str, Any] = {"indicator": indicator, "level": INDICATORS.index(indicator)}
    listed = page.get("components")
    if listed is None:
        return facts
    components: list[dict[str, str]] = []
    for each in map(_table, listed) if isinstance(listed, list) else [{}]:
        name, status = each.get("name"), each.get("status")
        if not isinstance(name, str) or not isinstance(status, str):
            return "one of its components has no name or no status"
        # A group says again what those in it say.
        if each.get("group") is not True:
            components.append({"name": words(name), "status": words(status)})
    components.sort(key=lambda each: each["status"] == WELL)
    affected = sum(each["status"] != WELL for each in components)
    return {**facts, "affected": affected, "components": components[:SHOWN]}


def breakers_of(document: Any) -> dict[str, Any] | str:
    """The facts of a list or map of breakers with their states, or why it is none; pure.

    Understood are `[{name, state}]`, `{NAME: STATE}` and `{NAME: {state}}`, also below `breakers` or
    `circuitBreakers`. One state that is not known makes all of it unknown: it could be the open one.
    """
    found: list[dict[str, str]] = []
    for name, state in _listed(document):
        if not isinstance(name, str) or not isinstance(state, str):
            return "it is no list or map of circuit breakers with their states"
        known = _STATES.get(state.lower().replace("_", "-"))
        if known is None:
            return f"breaker {words(name)} has a state that is not known: {words(state)}"
        found.append({"name": words(name), "state": known})
    if not found:
        # None yet, after a start, is not the same as none open.
        return "it names no circuit breaker"
    states = [each["state"] for each in found]
    found.sort(key=lambda each: (each["state"] != "open", each["state"] != "half-open"))
    return {
        "count": len(found),
        "open": states.count("open"),
        "halfOpen": states.count("half-open"),
        "off": states.count("off"),
        "breakers": found[:SHOWN],
    }


def _listed(document: Any) -> Iterator[tuple[Any, Any]]:
    """Names with states, in whichever of the shapes; None where something else stands there."""
    document = _unwrapped(document)
    if isinstance(document, list):
        for each in map(_table, document):
            yield each.get("name"), each.get("state")
    elif isinstance(document, dict):
        for name, said in document.items():
            yield name, said if isinstance(said, str) else _table(said).get("state")
    else:
        yield None, None


def _unwrapped(document: Any) -> Any:
    """What stands below the one key that says what it is; a breaker of such a name has its own state."""
    table = _table(document)
    for wrapping in _WRAPPINGS if len(table) == 1 else ():
        below = table.get(wrapping)
        if isinstance(below, list) or (isinstance(below, dict) and "state" not in below):
            return below
    return document


def _table(document: Any) -> Mapping[str, Any]:
    """The same, if it is a map; an empty one where it is not."""
    return document if isinstance(document, dict) else {}


def _or_missing(endpoint: str, facts: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(facts, str):
        raise TemporaryError(f"endpoint {endpoint}: {facts}")
    return facts
