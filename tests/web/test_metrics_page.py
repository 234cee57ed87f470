"""The page about the metrics is the table that they are read from, and they are what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from builders import alert, notification
from harness import Harness, harness
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from stories import rolled_back

from receiver.app import build_watching
from receiver.domain.errors import TemporaryError
from receiver.pipeline.counters import Counters
from receiver.pipeline.duties import Duties, Retention
from receiver.pipeline.intake import Intake
from receiver.pipeline.reconciliation import reconcile
from receiver.store.engine import Store
from receiver.web.keys import Health
from receiver.web.measures import MEASURES, Measure, Told
from receiver.web.metrics_page import OF_THE_PROCESS, alerts_by_metric, page

ROOT = Path(__file__).parent.parent.parent
RULES = (ROOT / "deploy" / "helm" / "stanch" / "files" / "alerts.yaml").read_text(encoding="utf-8")
BY_NAME = {measure.name: measure for measure in MEASURES}


def test_the_page_is_the_one_that_is_made() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == page(RULES)


def test_no_metric_stands_there_twice_and_all_labels_are_explained() -> None:
    assert len(BY_NAME) == len(MEASURES)
    for measure in MEASURES:
        for label in measure.labels:
            assert bool(label.values) is not bool(label.about), (measure.name, label.name)


def test_every_alert_asks_for_metrics_that_are_on_the_page() -> None:
    used = alerts_by_metric(RULES)
    assert len(used) > 10
    assert set(used) <= {*BY_NAME, *OF_THE_PROCESS}


def test_rules_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no file of alerting rules"):
        alerts_by_metric("groups: 7")


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.stem)
def test_what_is_read_from_the_store_is_not_there_while_it_is_away(measure: Measure) -> None:
    away = measure.read(Told(Counters(), {}, 0, refused=False))
    read = ("store_", "audit_", "incidents_", "plans", "intents", "watchdog_")
    stored = measure.name.startswith(tuple(f"stanch_{one}" for one in read))
    assert (away is None) is stored


async def exposed(h: Harness) -> dict[str, Metric]:
    """The metrics as a service of this world tells them; counters by their full names."""
    intake = Intake(h.world.store, h.clock, max_bytes_in_flight=1, on_kept=lambda: None)
    watching: web.Application = build_watching(h.world, h.counters, Health(), intake)
    async with TestClient(TestServer(watching)) as client, client.get("/metrics") as response:
        text = await response.text()
    found = {}
    for family in text_string_to_metric_families(text):
        found[f"{family.name}_total" if family.type == "counter" else family.name] = family
    return found


async def test_every_metric_that_is_told_is_on_the_page_and_every_one_of_the_page_is_told(
    store: Store,
) -> None:
    async with harness(store, alertmanager=True) as h:
        await rolled_back(h)
        await h.deliver(notification(alert(starts_at=h.clock.now(), with_labels={"alertname": "Watchdog"})))
        await reconcile(h.world, h.counters, {})
        await Duties(h.world, h.counters, on_joined=lambda: None, retention=Retention()).audit()
        h.told.failing = TemporaryError("nobody answers")
        await h.tell()
        found = await exposed(h)
        assert set(found) == {*BY_NAME, *OF_THE_PROCESS}
        for name, family in found.items():
            kind, text = (
                OF_THE_PROCESS[name]
                if name in OF_THE_PROCESS
                else (BY_NAME[name].kind.value, BY_NAME[name].text)
            )
            assert family.type == kind and text
        values = [sample for name in BY_NAME for sample in found[name].samples if sample.labels]
        assert len(values) > 8
        for name, measure in BY_NAME.items():
            for sample in found[name].samples:
                assert set(sample.labels) == {label.name for label in measure.labels}
                for label in measure.labels:
                    assert not label.values or sample.labels[label.name] in label.values, sample
