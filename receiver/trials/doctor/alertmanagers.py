"""What in an Alertmanager's configuration would lose our alerts, or bring them late.

It is read as Alertmanager shows it, with ``<secret>`` for every secret; nothing of an address but whether it
ends as it must is ever told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from receiver.clients.alertmanager import InForce
from receiver.trials.doctor.findings import Area, Finding, doubt, unknown, well, wrong

PATH = "/api/v1/alerts"
HIDDEN = "<secret>"
# Of Alertmanager itself, where a route and all above it say nothing.
DEFAULTS = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}
# A notification is remembered for so long at most (--data.retention); a later repeat is a first one.
REMEMBERED = timedelta(hours=120)
LATE = timedelta(minutes=5)

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_WEIGHTS = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)


@dataclass(frozen=True)
class Wanted:
    """What must be there: our receiver, by name where that is set, and how senders are known to us."""

    receiver: str | None
    by_token: bool
    by_password: bool

    @property
    def anybody(self) -> bool:
        """Whether alerts are taken without credentials."""
        return not self.by_token and not self.by_password


@dataclass(frozen=True)
class Peer:
    """One Alertmanager: what it told, or why it told nothing."""

    url: str
    told: InForce | str
    answers: bool = True


@dataclass(frozen=True)
class _Route:
    """A route with our receiver, and what surrounds it."""

    node: Mapping[str, Any]
    timing: Mapping[str, str]
    # Siblings before it that keep what they take, and whether one of them keeps everything.
    before: int
    hidden: bool
    # Others in the tree would have been told as well.
    after: int
    top: bool


def judge(peers: tuple[Peer, ...], wanted: Wanted) -> list[Finding]:
    """Every finding about all peers."""
    if not peers:
        return [
            doubt(
                Area.ALERTMANAGER,
                "no Alertmanager is named, so what it never sends, as when silenced, is not noticed",
                "set STANCH_ALERTMANAGER_URLS to every peer, comma-separated",
            )
        ]
    found: list[Finding] = []
    seen: dict[str, str] = {}
    for peer in peers:
        if isinstance(peer.told, str):
            found.append((unknown if peer.answers else wrong)(Area.ALERTMANAGER, *_silent(peer)))
            continue
        if peer.told.config not in seen:
            found += _of_config(peer.told.config, peer.url, wanted)
        seen.setdefault(peer.told.config, peer.url)
    found += _of_cluster(peers, list(seen.values()))
    return found


def _silent(peer: Peer) -> tuple[str, str]:
    if peer.answers:
        return f"{peer.url}: {peer.told}", "look at it yourself: amtool config show --alertmanager.url URL"
    return f"{peer.url}: {peer.told}", f"is it up, and reachable from here? curl {peer.url}/api/v2/status"


def _of_cluster(peers: tuple[Peer, ...], different: list[str]) -> Iterator[Finding]:
    if len(different) > 1:
        yield wrong(
            Area.ALERTMANAGER,
            f"peers have different configurations: {' and '.join(different)}",
            "give every peer the same file and reload it: curl -X POST URL/-/reload",
        )
    elif different and len(peers) > 1:
        yield well(Area.ALERTMANAGER, "every peer that answers has the same configuration")
    most = max((peer.told.peers for peer in peers if isinstance(peer.told, InForce)), default=0)
    if most > len(peers):
        yield doubt(
            Area.ALERTMANAGER,
            f"its cluster has {most} peers, and {len(peers)} of them are asked what fires",
            "name the others in STANCH_ALERTMANAGER_URLS too",
        )


def _of_config(text: str, url: str, wanted: Wanted) -> Iterator[Finding]:
    config = _parsed(text)
    if config is None:
        yield unknown(
            Area.ALERTMANAGER,
            f"{url} shows a configuration that cannot be read",
            "look at it yourself: amtool config show --alertmanager.url URL",
        )
        return
    receivers = {str(one.get("name")): one for one in _maps(config.get("receivers"))}
    name = wanted.receiver
    if name is None:
        ours = [each for each, one in receivers.items() if any(map(_is_ours, _webhooks(one)))]
        hint = ours[0] if len(ours) == 1 else "NAME"
        yield doubt(
            Area.ALERTMANAGER,
            "which receiver is ours is not set, so an alert that never arrived is not noticed",
            f"set STANCH_ALERTMANAGER_RECEIVER={hint}",
        )
        if len(ours) != 1:
            return
        name = ours[0]
    if name not in receivers:
        yield wrong(
            Area.ALERTMANAGER,
            f"{url} has no receiver {name!r}",
            "add it as docs/quickstart.md shows, or name the right one in STANCH_ALERTMANAGER_RECEIVER",
        )
        return
    complaints = [*_of_receiver(name, receivers[name], config, wanted), *_of_routes(name, config)]
    yield from complaints or [
        well(Area.ALERTMANAGER, f"{url} sends what is routed to {name!r}, resolves too")
    ]


def _of_receiver(
    name: str, receiver: Mapping[str, Any], config: Mapping[str, Any], wanted: Wanted
) -> Iterator[Finding]:
    hooks = _webhooks(receiver)
    if not hooks:
        fix = f"give it webhook_configs with a url that ends in {PATH}"
        yield wrong(Area.ALERTMANAGER, f"receiver {name!r} has no webhook", fix)
        return
    if len(hooks) > 1:
        yield doubt(
            Area.ALERTMANAGER,
            f"receiver {name!r} has {len(hooks)} webhooks: where one is broken, the other is told late",
            "give each webhook a receiver of its own",
        )
    mine = [hook for hook in hooks if _is_ours(hook)] or hooks[:1]
    for hook in mine:
        yield from _of_webhook(name, hook, config, wanted)


def _of_webhook(
    name: str, hook: Mapping[str, Any], config: Mapping[str, Any], wanted: Wanted
) -> Iterator[Finding]:
    url = hook.get("url")
    if not isinstance(url, str) or url == HIDDEN:
        yield unknown(
            Area.ALERTMANAGER,
            f"where the webhook of {name!r} goes is not shown",
            f"make sure that its url, or what its url_file holds, ends in {PATH}",
        )
    elif not _is_ours(hook):
        yield wrong(
            Area.ALERTMANAGER,
            f"the webhook of {name!r} does not go to {PATH}",
            f"let its url end in {PATH}",
        )
    if hook.get("send_resolved", True) is False:
        yield wrong(
            Area.ALERTMANAGER,
            f"the webhook of {name!r} has send_resolved: false, so no incident ends by it",
            "set send_resolved: true",
        )
    if hook.get("max_alerts") not in (None, 0):
        yield wrong(
            Area.ALERTMANAGER,
            f"the webhook of {name!r} has max_alerts: what is left out cannot be known",
            "set max_alerts: 0",
        )
    if hook.get("payload"):
        yield wrong(
            Area.ALERTMANAGER,
            f"the webhook of {name!r} has a payload of its own, which cannot be read here",
            "take payload away, so that version 4 of the body is sent",
        )
    yield from _of_credentials(name, hook, config, wanted)


def _of_credentials(
    name: str, hook: Mapping[str, Any], config: Mapping[str, Any], wanted: Wanted
) -> Iterator[Finding]:
    if wanted.anybody:
        return
    # A receiver's http_config stands in the place of the global one as a whole.
    whose = hook if "http_config" in hook else _map(config.get("global"))
    found = _map(whose.get("http_config"))
    scheme = str(_map(found.get("authorization")).get("type") or "Bearer").lower()
    by_token = "bearer_token" in found or "bearer_token_file" in found
    by_token = by_token or ("authorization" in found and scheme == "bearer")
    by_password = "basic_auth" in found or ("authorization" in found and scheme == "basic")
    if (by_token and wanted.by_token) or (by_password and wanted.by_password):
        return
    files = "STANCH_WEBHOOK_TOKEN_FILE" if wanted.by_token else "STANCH_WEBHOOK_USERS_FILE"
    form = (
        "authorization: {credentials_file: FILE}"
        if wanted.by_token
        else "basic_auth: {username, password_file}"
    )
    kind = "credentials of another kind than we take" if by_token or by_password else "no credentials"
    if "oauth2" in found:
        yield unknown(
            Area.ALERTMANAGER,
            f"the webhook of {name!r} authenticates by oauth2",
            f"make sure that whatever takes it turns it into what {files} holds",
        )
        return
    yield wrong(
        Area.ALERTMANAGER,
        f"the webhook of {name!r} has {kind}: every alert is answered with 401",
        f"give it http_config: {{{form}}} with what {files} holds",
    )


def _of_routes(name: str, config: Mapping[str, Any]) -> Iterator[Finding]:
    found = list(_routes(_map(config.get("route")), name))
    open_ones = [route for route in found if not route.hidden]
    if not open_ones:
        why = "a route before it takes everything" if found else "no route leads to it"
        yield wrong(
            Area.ALERTMANAGER,
            f"no alert reaches receiver {name!r}: {why}",
            f"put `- receiver: {name}` with `continue: true` first below route.routes",
        )
        return
    for route in open_ones:
        yield from _of_route(name, route)


def _of_route(name: str, route: _Route) -> Iterator[Finding]:
    if route.before:
        yield doubt(
            Area.ALERTMANAGER,
            f"{route.before} route(s) before ours keep what they match from receiver {name!r}",
            "put our route first, or give those before it `continue: true`",
        )
    if route.after and route.node.get("continue") is not True:
        yield doubt(
            Area.ALERTMANAGER,
            f"the route to {name!r} keeps its alerts from those after it",
            "give it `continue: true`",
        )
    if route.node.get("mute_time_intervals") or route.node.get("active_time_intervals"):
        yield doubt(
            Area.ALERTMANAGER,
            f"the route to {name!r} is silent at times: what resolves then is never told",
            "take mute_time_intervals and active_time_intervals off it",
        )
    waits = {each: _duration(route.timing[each]) for each in DEFAULTS}
    interval, repeat = waits["group_interval"], waits["repeat_interval"]
    if interval is not None and repeat is not None and interval > 2 * repeat:
        yield wrong(
            Area.ALERTMANAGER,
            f"the route to {name!r} has a group_interval of more than twice its repeat_interval:"
            " resolves are dropped",
            "set group_interval: 1m and repeat_interval: 30m",
        )
    for each in ("group_wait", "group_interval"):
        wait = waits[each]
        if wait is not None and wait > LATE:
            yield doubt(
                Area.ALERTMANAGER,
                f"the route to {name!r} has {each}: {route.timing[each]}, so alerts come as late as that",
                f"set {each}: {'10s' if each == 'group_wait' else '1m'}",
            )
    if repeat is not None and repeat > REMEMBERED:
        yield doubt(
            Area.ALERTMANAGER,
            f"the route to {name!r} repeats after more than {REMEMBERED.total_seconds() / 3600:.0f} h,"
            " when what was sent is forgotten",
            "set repeat_interval: 30m",
        )


def _routes(
    node: Mapping[str, Any],
    name: str,
    *,
    receiver: str | None = None,
    timing: Mapping[str, str] = DEFAULTS,
    before: int = 0,
    hidden: bool = False,
    after: int = 0,
    top: bool = True,
) -> Iterator[_Route]:
    """Those routes by which alerts come to this receiver, as Alertmanager walks the tree.

    Children are asked in order, and the first that matches without ``continue`` keeps the alert; the node
    itself has what no child took.
    """
    receiver = str(node["receiver"]) if "receiver" in node else receiver
    timing = {each: str(node.get(each, timing[each])) for each in DEFAULTS}
    children = _maps(node.get("routes"))
    keeping, closed = 0, hidden
    for number, child in enumerate(children):
        yield from _routes(
            child,
            name,
            receiver=receiver,
            timing=timing,
            before=before + keeping,
            hidden=closed,
            after=after + len(children) - number - 1,
            top=False,
        )
        if child.get("continue") is not True:
            keeping += _leads_elsewhere(child, name, receiver or "")
            closed = closed or _takes_everything(child)
    if receiver == name:
        # A child that matches everything leaves nothing to its parent, with `continue` or without.
        left = hidden or any(_takes_everything(child) for child in children)
        others = sum(_leads_elsewhere(child, name, name) for child in children)
        yield _Route(node, timing, before + others, left, 0 if top else after, top)


def _leads_elsewhere(child: Mapping[str, Any], name: str, above: str) -> bool:
    """Whether something that this route takes goes to somebody else and not to us."""
    receiver = str(child.get("receiver", above))
    return receiver != name or any(
        _leads_elsewhere(one, name, receiver) for one in _maps(child.get("routes"))
    )


def _takes_everything(route: Mapping[str, Any]) -> bool:
    return not any(route.get(each) for each in ("match", "match_re", "matchers"))


def _is_ours(hook: Mapping[str, Any]) -> bool:
    url = hook.get("url")
    try:
        return isinstance(url, str) and urlsplit(url).path.rstrip("/").endswith(PATH)
    except ValueError:
        return False


def _webhooks(receiver: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _maps(receiver.get("webhook_configs"))


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        found = YAML(typ="safe").load(text)
    except (YAMLError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _duration(written: str) -> timedelta | None:
    found = _DURATION.fullmatch(written)
    if found is None or not any(found.groups()):
        return None
    try:
        return timedelta(seconds=sum(w * int(n or 0) for w, n in zip(_WEIGHTS, found.groups(), strict=True)))
    except OverflowError:
        return timedelta.max
