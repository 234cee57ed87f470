"""Deliveries become alerts and incidents; repeats, copies and hostile bodies change nothing else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from builders import NO_END, alert, labels, notification
from builders import policies as usual_policies
from harness import Harness, harness
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

from receiver.domain.alerts import read_notification
from receiver.domain.incidents import replay
from receiver.domain.occurrences import Occurrence, occurrences
from receiver.pipeline import joining
from receiver.pipeline.worker import Worker
from receiver.store import intake, migrate, timeline
from receiver.store.engine import Delivery, Store
from receiver.store.schema import dead_letters, deliveries
from receiver.store.sqlite import SqliteStore, open_sqlite

RECORDED = Path(__file__).parent.parent / "data" / "alertmanager"


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.json").read_bytes()


async def rows(h: Harness) -> list[intake.AlertRow]:
    return await h.world.store.read(lambda tx: intake.list_alerts(tx, before=None, limit=500))


async def told_of(h: Harness) -> dict[str, Sequence[Occurrence]]:
    return {row.identity: occurrences(row.facts) for row in await rows(h)}


async def letters(h: Harness) -> list[str]:
    def body(tx: Connection) -> list[str]:
        return [row.reason for row in tx.execute(select(dead_letters.c.reason).order_by(dead_letters.c.id))]

    return await h.world.store.read(body)


async def test_a_group_of_three_is_one_incident_with_three_alerts(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("prometheus-firing-grouped-3"))
        assert len(await rows(h)) == 3
        assert len(await h.incidents()) == 1
        assert len((await h.incident()).alerts) == 3


async def test_a_byte_identical_repeat_changes_nothing(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("prometheus-firing-single"))
        before = await h.incident()
        await h.deliver(recorded("prometheus-firing-single"))
        assert await h.incident() == before
        assert (await rows(h))[0].seen == 2


async def test_a_copy_of_the_other_peer_changes_nothing(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("prometheus-firing-single"))
        before = await h.incident()
        document = json.loads(recorded("prometheus-firing-single"))
        document["externalURL"] = "http://other-peer.example.com:9093"
        await h.deliver(json.dumps(document).encode())
        assert await h.incident() == before


async def test_alerts_of_a_mixed_body_go_by_their_own_status(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("prometheus-grouped-mixed-firing-resolved"))
        assert sorted(row.open is not None for row in await rows(h)) == [False, True, True]


async def test_a_stale_firing_after_its_resolve_opens_nothing_and_is_doubted(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("prometheus-firing-single"))
        await h.deliver(recorded("prometheus-resolved-single"))
        assert not (await h.incident()).firing
        await h.deliver(recorded("prometheus-firing-single"))
        assert not (await h.incident()).firing
        assert (await rows(h))[0].doubted_at is not None


async def test_truncated_alerts_are_counted_and_nothing_ends_by_being_absent(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(recorded("api-truncated-firing-max3-of-10"))
        assert h.counters.truncated_alerts > 0
        firing = [row.identity for row in await rows(h) if row.open is not None]
        document = json.loads(recorded("api-truncated-firing-max3-of-10"))
        document["alerts"] = document["alerts"][:1]
        await h.deliver(json.dumps(document).encode())
        assert [row.identity for row in await rows(h) if row.open is not None] == firing


async def test_one_bad_alert_among_fifty_leaves_forty_nine_and_one_dead_letter(store: Store) -> None:
    async with harness(store) as h:
        entries = [
            alert(starts_at=h.clock.now(), with_labels=labels(pod=f"api-{number}")) for number in range(50)
        ]
        entries[3]["labels"] = None
        await h.deliver(notification(*entries))
        assert len(await rows(h)) == 49
        assert len(await letters(h)) == 1


@pytest.mark.parametrize("body", [b"not json", b'{"version":"99"}', b"", b"\xff\x00"])
async def test_an_unreadable_body_is_kept_as_a_dead_letter(store: Store, body: bytes) -> None:
    async with harness(store) as h:
        await h.deliver(body)
        assert len(await letters(h)) == 1
        assert await h.incidents() == []


async def test_hostile_labels_are_stored_and_shown_as_text(store: Store) -> None:
    async with harness(store) as h:
        hostile = {
            "alertname": "A'; DROP TABLE alerts; --",
            "namespace": "{{ labels.x }}",
            "app": "$(reboot)\x00\u202e`id`",
            "long": "x" * 5000,
        }
        body = notification(alert(starts_at=h.clock.now(), with_labels=hostile)).replace(b"`id`", b"\\ud800")
        await h.deliver(body)
        await h.work()
        row = (await rows(h))[0]
        assert row.labels["alertname"] == hostile["alertname"]
        assert "\x00" not in row.labels["app"]
        assert (await h.incident()).firing
        assert h.demo.real_writes == 0


async def test_a_flap_reopens_nothing_that_is_open_and_keeps_both_occurrences(store: Store) -> None:
    async with harness(store) as h:
        started = h.clock.now()
        await h.deliver(notification(alert(starts_at=started)))
        await h.clock.advance(timedelta(minutes=2))
        ended = h.clock.now()
        await h.deliver(notification(alert(status="resolved", starts_at=started, ends_at=ended)))
        await h.clock.advance(timedelta(minutes=1))
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        assert len(await h.incidents()) == 1
        (found,) = (await told_of(h)).values()
        assert [one.ends_at for one in found] == [ended, None]


async def test_two_incidents_of_two_keys_are_two(store: Store) -> None:
    async with harness(store) as h:
        one = alert(starts_at=h.clock.now(), with_labels=labels(app="a"))
        other = alert(starts_at=h.clock.now(), with_labels=labels(app="b"))
        await h.deliver(notification(one, other))
        assert len(await h.incidents()) == 2


async def test_alerts_without_any_correlating_label_are_incidents_of_their_own(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(
            notification(
                alert(starts_at=h.clock.now(), with_labels={"alertname": "A"}),
                alert(starts_at=h.clock.now(), with_labels={"alertname": "B"}),
            )
        )
        assert len(await h.incidents()) == 2


async def test_a_heartbeat_is_never_an_incident(store: Store) -> None:
    async with harness(store) as h:
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels={"alertname": "Watchdog"})))
        assert await h.incidents() == []
        assert len(await rows(h)) == 1


async def last_received(h: Harness, name: str) -> datetime | None:
    source = h.world.place.source
    return await h.world.store.read(lambda tx: intake.last_received(tx, name, source=source))


@pytest.mark.parametrize("name", ["Watchdog", 'Im_"alive%"', "DeadMansSwitch"])
async def test_the_watchdog_that_is_named_is_never_an_incident_and_when_it_came_is_known(
    store: Store, name: str
) -> None:
    async with harness(store, policies=replace(usual_policies(), heartbeats=frozenset())) as h:
        named = replace(h.world, place=replace(h.world.place, watchdog=name))
        h = replace(h, world=named, worker=Worker(named, h.counters))
        began = h.clock.now()
        bodies = [alert(starts_at=began, with_labels={"alertname": one}) for one in (name, name.lower())]
        assert await last_received(h, name) is None
        await h.deliver(notification(bodies[0]))
        await h.work()
        assert await h.incidents() == []
        await h.clock.advance(timedelta(minutes=5))
        await h.deliver(notification(bodies[0]))
        assert await last_received(h, name) == h.clock.now()
        # Neither another alert nor the same one of another source is it.
        await h.clock.advance(timedelta(minutes=5))
        await h.deliver(notification(bodies[1]))
        await h.deliver(notification(bodies[0]), source="elsewhere")
        assert await last_received(h, name) == began + timedelta(minutes=5)


async def test_a_watchdog_that_ended_is_not_told(store: Store) -> None:
    async with harness(store) as h:
        now, named = h.clock.now(), {"alertname": "Watchdog"}
        await h.deliver(notification(alert(starts_at=now, with_labels=named)))
        assert await last_received(h, "Watchdog") == now
        ended = alert(status="resolved", starts_at=now, ends_at=now + timedelta(minutes=1), with_labels=named)
        await h.deliver(notification(ended))
        assert await last_received(h, "Watchdog") is None


async def test_a_body_that_raises_three_times_is_buried_and_its_neighbours_are_joined(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = read_notification

    def raising(body: bytes, **known: object) -> object:
        if b"poison" in body:
            raise RuntimeError("a bug of ours")
        return real(body, **known)  # type: ignore[arg-type]

    monkeypatch.setattr(joining, "read_notification", raising)
    async with harness(store) as h:
        now = h.clock.now()
        for name in ("fine", "poison", "well"):
            body = notification(alert(starts_at=now, with_labels=labels(app=name)))
            await h.world.store.keep(Delivery(0.0, "am", name, body))
        for _ in range(4):
            await joining.join_waiting(h.world, h.counters)
        assert sorted(row.labels["app"] for row in await rows(h)) == ["fine", "well"]
        assert len(await letters(h)) == 1
        assert h.counters.dead_letters == 1

        def unread(tx: Connection) -> int:
            return int(tx.execute(select(func.count()).where(deliveries.c.done_at.is_(None))).scalar_one())

        assert await h.world.store.read(unread) == 0


async def test_the_timeline_replayed_is_the_stored_snapshot(store: Store) -> None:
    async with harness(store) as h:
        await h.fall_ill()
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.pass_time(timedelta(minutes=20))
        recorded_events = await h.world.store.read(lambda tx: timeline.timeline(tx, 1))
        assert replay(1, recorded_events) == await h.incident()


minutes = st.integers(min_value=0, max_value=50)
entries = st.tuples(st.sampled_from(["a", "b"]), st.booleans(), minutes, minutes)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(entries, min_size=1, max_size=8), order=st.randoms(use_true_random=False))
async def test_any_order_and_repetition_of_the_same_deliveries_gives_the_same_alerts(
    told: list[tuple[str, bool, int, int]], order: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shuffled = [*told, *told]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert await _after(told, tmp_path_factory.mktemp("one")) == await _after(
        shuffled, tmp_path_factory.mktemp("other")
    )


@cache
def empty() -> bytes:
    """A file with the schema and nothing in it: migrating one for each example takes most of the time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stanch.sqlite3"
        migrate.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def fresh(folder: Path) -> SqliteStore:
    """A store of its own for one example."""
    (folder / "stanch.sqlite3").write_bytes(empty())
    return open_sqlite(folder / "stanch.sqlite3")


async def _after(told: list[tuple[str, bool, int, int]], folder: Path) -> object:
    store = fresh(folder)
    try:
        async with harness(store) as h:
            noon = h.clock.now()
            await h.clock.advance(timedelta(hours=2))
            for app, firing, start, lasts in told:
                starts = noon + timedelta(minutes=start)
                ends = starts + timedelta(minutes=lasts)
                entry = alert(starts_at=starts, with_labels=labels(app=app))
                if not firing:
                    entry = alert(
                        status="resolved", starts_at=starts, ends_at=ends, with_labels=labels(app=app)
                    )
                assert firing == (entry["endsAt"] == NO_END)
                await h.deliver(notification(entry))
            firing_now = {one.labels["app"]: one.firing for one in await h.incidents() if one.firing}
            return await told_of(h), firing_now
    finally:
        await store.close()


Told = tuple[str, bool, int, int, str]
sayings = st.tuples(
    st.sampled_from(["a", "b"]),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "x"]),
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(sayings, min_size=1, max_size=5), min_size=1, max_size=4))
async def test_counting_a_repeat_ends_where_reading_it_in_full_would(
    batches: list[list[Told]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    counted = await _joined(batches, tmp_path_factory.mktemp("counted"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(intake.Standing, "knows", lambda _self, _alert: False)
        assert await _joined(batches, tmp_path_factory.mktemp("read")) == counted


async def _joined(batches: list[list[Told]], folder: Path) -> object:
    store = fresh(folder)
    try:
        async with harness(store) as h:
            noon = h.clock.now()
            await h.clock.advance(timedelta(hours=1))
            for batch in batches:
                for app, firing, start, lasts, note in batch:
                    starts = noon + timedelta(minutes=start)
                    ends = None if firing else starts + timedelta(minutes=lasts)
                    entry = alert(
                        status="firing" if firing else "resolved",
                        starts_at=starts,
                        ends_at=ends,
                        with_labels=labels(app=app),
                    )
                    entry["annotations"] = {"note": note}
                    body = notification(entry)
                    await store.keep(Delivery(h.clock.now().timestamp(), "am", "", body))
                await joining.join_waiting(h.world, h.counters)
                await h.clock.advance(timedelta(minutes=1))
            return await rows(h), [await h.events(one.id) for one in await h.incidents()]
    finally:
        await store.close()


async def test_a_repeat_is_counted_and_its_time_is_kept(store: Store) -> None:
    async with harness(store) as h:
        body = notification(alert(starts_at=h.clock.now()))
        await h.deliver(body)
        await h.clock.advance(timedelta(minutes=5))
        await h.deliver(body)
        (row,) = await rows(h)
        assert (row.seen, row.last_seen) == (2, h.clock.now())
