"""What a scrape leaves behind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from hand_clock import NOON

from receiver.demo.prometheus import Engine, Sample, Target
from receiver.demo.prometheus.engine import as_vector

STEP = timedelta(seconds=15)


class Api:
    """A target that a test can break, and whose pods it can take away."""

    def __init__(self) -> None:
        self.pods = ["a", "b"]
        self.broken = False

    def __call__(self, at: datetime) -> Iterable[Sample]:
        if self.broken:
            raise ConnectionError("refused")
        return [Sample("requests_total", {"pod": pod}, at.timestamp()) for pod in self.pods]


def world() -> tuple[Api, Engine]:
    api = Api()
    target = Target(job="api", instance="api:80", collect=api, labels={"namespace": "gl"})
    return api, Engine(targets=[target], retention=timedelta(hours=1))


def count(engine: Engine, query: str, at: datetime) -> int:
    return len(as_vector(engine.query(query, at)))


def test_a_series_carries_its_targets_labels() -> None:
    _, engine = world()
    engine.scrape(NOON)
    [element] = as_vector(engine.query('requests_total{pod="a"}', NOON))
    assert dict(element.labels) == {
        "__name__": "requests_total",
        "pod": "a",
        "job": "api",
        "instance": "api:80",
        "namespace": "gl",
    }


def test_a_label_that_both_name_is_kept_as_exported() -> None:
    target = Target(job="ksm", instance="ksm:80", collect=lambda at: [Sample("x", {"job": "cron"}, 1)])
    engine = Engine(targets=[target])
    engine.scrape(NOON)
    assert count(engine, 'x{job="ksm",exported_job="cron"}', NOON) == 1


def test_a_target_that_raises_is_down_and_its_series_end() -> None:
    api, engine = world()
    engine.scrape(NOON)
    api.broken = True
    engine.scrape(NOON + STEP)
    assert count(engine, 'up{job="api"} == 0', NOON + STEP) == 1
    assert count(engine, "requests_total", NOON + STEP) == 0
    assert count(engine, "requests_total", NOON) == 2, "the past stays"


def test_a_series_that_is_no_longer_shown_ends_at_once() -> None:
    api, engine = world()
    engine.scrape(NOON)
    api.pods.remove("b")
    engine.scrape(NOON + STEP)
    assert count(engine, "requests_total", NOON + STEP) == 1


def test_without_a_marker_a_series_lives_on_for_five_minutes() -> None:
    _, engine = world()
    engine.scrape(NOON)
    assert count(engine, "requests_total", NOON + timedelta(minutes=5)) == 2
    assert count(engine, "requests_total", NOON + timedelta(minutes=5, milliseconds=1)) == 0


def test_a_past_can_be_filled_in_before_the_first_scrape() -> None:
    _, engine = world()
    engine.backfill(NOON - timedelta(minutes=10), NOON, STEP, engine.scraper.targets[0])
    engine.scrape(NOON)
    [element] = as_vector(engine.query('rate(requests_total{pod="a"}[5m])', NOON))
    assert round(element.value, 9) == 1.0


def test_what_is_older_than_the_retention_is_forgotten() -> None:
    api, engine = world()
    engine.scrape(NOON)
    api.pods = ["c"]
    engine.scrape(NOON + timedelta(hours=1, seconds=1))
    at = NOON + timedelta(hours=1, seconds=1)
    assert count(engine, "count_over_time(requests_total[2h]) > 0", at) == 1
    assert len(engine.store) == 5, "pod c, two series of the target, and two that ended just now"


def test_a_sample_from_the_past_is_dropped() -> None:
    _, engine = world()
    engine.scrape(NOON)
    engine.scrape(NOON - STEP)
    assert count(engine, "requests_total", NOON - STEP) == 0
