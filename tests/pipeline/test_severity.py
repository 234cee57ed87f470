"""Up at once, down only by a person, and never for want of data."""

from __future__ import annotations

from datetime import timedelta

from builders import CAROL, alert, labels, notification
from harness import Harness, harness
from stories import noticed, rolled_back

from receiver.domain.severity import Severity
from receiver.pipeline import people
from receiver.store.engine import Store


async def severity(h: Harness) -> Severity | None:
    return (await h.incident()).severity


async def test_it_rises_at_once_when_it_gets_worse(store: Store) -> None:
    async with harness(store) as h:
        h.demo.scenario = h.demo.scenario.model_copy()
        mild = h.demo.scenario.bad.model_copy(update={"error_ratio": 0.07})
        h.demo.traffic.scenario = h.demo.scenario.model_copy(update={"bad": mild})
        await h.fall_ill(after=timedelta(minutes=12))
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(severity="warning"))))
        await h.work()
        assert await severity(h) is Severity.P2
        bad = h.demo.scenario.bad.model_copy(update={"error_ratio": 0.6})
        h.demo.traffic.scenario = h.demo.scenario.model_copy(update={"bad": bad})
        await h.pass_time(timedelta(minutes=8))
        assert await severity(h) is Severity.P1
        assert (await h.incident()).epoch == 2


async def test_it_is_never_lowered_by_itself_and_a_downgrade_is_proposed_after_a_quarter_of_an_hour(
    store: Store,
) -> None:
    async with harness(store) as h:
        await rolled_back(h)
        await h.pass_time(timedelta(minutes=30))
        assert await severity(h) is Severity.P1
        assert (await h.kinds()).count("DowngradeProposed") == 1
        await people.set_severity(h.world, 1, CAROL, severity=Severity.P3, reason="cured")
        assert await severity(h) is Severity.P3


async def test_without_metrics_the_label_speaks_and_nothing_lowers(store: Store) -> None:
    async with harness(store) as h:
        h.demo.prometheus.faults.empty = True
        await h.deliver(notification(alert(starts_at=h.clock.now())))
        await h.work()
        assert await severity(h) is Severity.P1
        await h.pass_time(timedelta(minutes=20))
        assert await severity(h) is Severity.P1
        assert "DowngradeProposed" not in await h.kinds()


async def test_the_label_critical_alone_never_makes_a_p0(store: Store) -> None:
    async with harness(store) as h:
        h.demo.prometheus.faults.empty = True
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels=labels(severity="critical"))))
        await h.work()
        assert await severity(h) is Severity.P1


async def test_prometheus_away_is_told_from_healthy(store: Store) -> None:
    async with harness(store) as h:
        await noticed(h)
        h.demo.prometheus.faults.down = True
        before = await h.kinds()
        await h.pass_time(timedelta(minutes=5))
        assert await severity(h) is Severity.P1
        assert "MonitoringStarted" not in (await h.kinds())[len(before) :]
