"""What a person has to do is written down once, told in few words, and shown whole."""

from __future__ import annotations

from datetime import timedelta

from builders import alert, labels, notification, policies, policy
from harness import Harness, harness
from stories import noticed, resolved

from receiver.domain.events import HandedOver
from receiver.domain.incidents import read_snapshot, replay, snapshot_text
from receiver.pipeline.telling import deliver
from receiver.policy.model import Handover, PolicySet
from receiver.store import timeline
from receiver.store.engine import Store
from receiver.terminal.cards import incident_card
from receiver.terminal.screen import out
from receiver.web.views import incident_view

DRAIN = Handover(
    "Drain the node", "cordon it first", "pods are lost", None, ("rollout.current.image", "labels.pod")
)
REINDEX = Handover("Rebuild the index", "one at a time", "it blocks", "rollout.paused")


def handing(*entries: Handover) -> PolicySet:
    return policies(policy(handover=entries))


async def handovers(h: Harness) -> list[HandedOver]:
    return [event for event in await h.events() if isinstance(event, HandedOver)]


async def test_it_is_written_down_once_with_the_diagnosis(store: Store) -> None:
    async with harness(store, policies=handing(DRAIN, REINDEX)) as h:
        await noticed(h)
        await h.pass_time(timedelta(minutes=20))
        (event,) = await handovers(h)
        kinds = await h.kinds()
        assert kinds[kinds.index("Diagnosed") + 1] == "HandedOver"
        assert [item.item for item in event.items] == ["Drain the node"]
        assert event.items[0].found["rollout.current.image"].startswith("greenlang/api:")
        incident = await h.incident()
        assert incident.handover == event.items
        assert replay(1, await h.world.store.read(lambda tx: timeline.timeline(tx, 1))) == incident
        assert read_snapshot(snapshot_text(incident)) == incident


async def test_nothing_is_written_down_where_there_is_nothing_to_do(store: Store) -> None:
    async with harness(store, policies=handing(REINDEX)) as h:
        await noticed(h)
        assert await handovers(h) == []


async def test_a_reopened_incident_is_looked_at_anew(store: Store) -> None:
    async with harness(store, policies=handing(DRAIN)) as h:
        started = await noticed(h)
        await resolved(h, started)
        await h.pass_time(timedelta(minutes=5))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        incident = await h.incident()
        again = 2 if "Reopened" in await h.kinds() else 1
        assert len(await handovers(h)) == again
        assert len(incident.handover) == 1


async def test_a_page_says_how_much_there_is_and_what_comes_first(store: Store) -> None:
    tidy = Handover("Tidy up", "slowly", "it is yours")
    async with harness(store, policies=policies(policy(candidates=(), handover=(DRAIN, tidy)))) as h:
        await noticed(h)
        while await deliver(h.world, h.counters):
            pass
        (body,) = [body for body in h.told.bodies if body["kind"] == "Escalated"]
        assert body["text"].endswith(". To do by hand, 2 in all: 1. Drain the node (stanch incidents show 1)")
        assert "cordon" not in body["text"]


async def test_the_checklist_is_numbered_and_harmless_on_a_terminal(store: Store) -> None:
    async with harness(store, policies=handing(DRAIN, Handover("Tidy up", "slowly", "it is yours"))) as h:
        await h.fall_ill()
        entry = alert(starts_at=h.clock.now(), with_labels=labels(pod="[red]x[/] \x1b[31m"))
        await h.deliver(notification(entry))
        await h.work()
        shown = incident_view(await h.incident())
        assert [item["item"] for item in shown["handover"]] == ["Drain the node", "Tidy up"]
        console = out()
        with console.capture() as capture:
            console.print(incident_card(shown))
        text = capture.get()
        assert "1. Drain the node" in text and "2. Tidy up" in text
        assert "next: cordon it first" in text and "why by hand: pods are lost" in text
        assert "labels.pod = [red]x[/]" in text
        assert "\x1b" not in text
