"""How pods are and what they complain of: bounded, and nothing secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cures import APP, NAMESPACE
from harness import harness
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.plans import ObjectRef
from receiver.probes import pods
from receiver.store.engine import Store

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
TARGET = ObjectRef("apps/v1", "Deployment", NAMESPACE, APP)


def pod(made: str, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    container = {"restartCount": 0, "imageID": "shop/api@sha256:1", **status}
    return {
        "metadata": {"creationTimestamp": made},
        "spec": {"nodeName": "node-0"},
        "status": {"conditions": conditions, "containerStatuses": [container]},
    }


def test_how_the_pods_are() -> None:
    crashing = {"waiting": {"reason": "CrashLoopBackOff"}}
    killed = {"terminated": {"reason": "OOMKilled"}}
    found = [
        pod("2026-03-02T01:00:00Z"),
        pod("2026-03-02T02:59:00Z", ready=False, restartCount=4, state=crashing, lastState=killed),
    ]
    assert pods.facts_of(found, now=NOW) == {
        "count": 2,
        "ready": 1,
        "restarts": 4,
        "oomKilled": 1,
        "waiting": ["CrashLoopBackOff"],
        "nodes": ["node-0"],
        "imageIds": ["shop/api@sha256:1"],
        "youngestSeconds": 60.0,
        "youngShare": 0.5,
    }


def test_no_pods_have_no_age() -> None:
    assert "youngestSeconds" not in pods.facts_of([], now=NOW)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            "2026-03-02T03:00:00.123Z ERROR no answer of 10.0.3.7:5432 in 300 ms",
            "ERROR no answer of # in # ms",
        ),
        ("ERROR password=hunter2 refused", "ERROR password=… refused"),
        ("error: DB_PASSWORD: hunter2", "error: DB_PASSWORD: …"),
        ("ERROR Authorization: Bearer abc.def", "ERROR Authorization: … …"),
        ("ERROR postgres://app:hunter2@db/shop", "ERROR postgres://…@db/shop"),
        ("ERROR key sk-abcdefghijklmnopqrstuvwxyz0123", "ERROR key …"),
        ("ERROR \x1b[31mred\x1b[0m", "ERROR [#mred [#m"),
        ("ERROR job 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "ERROR job …"),
    ],
)
def test_a_line_is_kept_for_its_shape(line: str, kept: str) -> None:
    assert pods.shape(line) == kept


@given(st.text(max_size=400))
def test_any_line_becomes_one_short_printable_one(line: str) -> None:
    kept = pods.shape(line)
    assert len(kept) <= pods.LINE
    assert kept.isprintable()


def test_what_most_lines_complain_of_comes_first() -> None:
    log = "".join(f"ERROR no connection to db-{number}\n" for number in range(9))
    facts = pods.complaints_of([log, "INFO well\nERROR something else\n"])
    assert (facts["pods"], facts["lines"], facts["errors"], facts["topShare"]) == (2, 11, 10, 0.9)
    assert facts["top"][0] == {"line": "ERROR no connection to db-#", "count": 9}


def test_the_longest_and_the_median_of_what_took_how_long() -> None:
    facts = pods.complaints_of(
        [
            '{"level": "info", "path": "/v1/a", "duration_ms": 5210.5}\n{"durationMs":130,"status":200}\n',
            'level=info latency_ms=90 path=/health\nmsg=done elapsed_ms="70"\nERROR no connection\n',
        ]
    )
    assert (facts["timed"], facts["longestMilliseconds"], facts["medianMilliseconds"]) == (4, 5210.5, 110.0)
    assert facts["errors"] == 1


@pytest.mark.parametrize(
    "said",
    [
        "NaN",
        "Infinity",
        "1e999",
        "1e3",
        "-5",
        "1" * 400,
        "12345678901",
        "0x1F",
        "1.2.3",
        "12ms",
        '"slow"',
        "null",
        "[1]",
        "{}",
        "true",
        "\u0661\u0662",
        "",
    ],
)
@pytest.mark.parametrize("line", ['{{"duration_ms": {}}}', "duration_ms={}"])
def test_what_is_no_plain_number_is_no_duration(line: str, said: str) -> None:
    assert pods.durations_of([line.format(said)]) == {"timed": 0}


@pytest.mark.parametrize(
    "line", ["duration=5", "duration_s=5", "my_duration_msx=5", "xduration_ms=5", "took 5 ms"]
)
def test_a_name_that_does_not_say_milliseconds_is_not_guessed_at(line: str) -> None:
    assert pods.durations_of([line]) == {"timed": 0}


def test_a_line_is_one_duration_and_nothing_of_its_text_is_told() -> None:
    line = "password=hunter2 duration_ms=7 duration_ms=9 " + "latency_ms" * 10_000
    assert pods.durations_of([line]) == {
        "timed": 1,
        "longestMilliseconds": 7.0,
        "medianMilliseconds": 7.0,
    }


async def test_both_look_at_a_real_workload(store: Store) -> None:
    async with harness(store) as h:
        image = h.demo.scenario.good.image
        h.demo.api.logs.by_image[image] = "2026-03-01T12:00:00Z ERROR no route to host 10.0.0.1\nwell\n"
        found = await pods.states(h.world.cluster, TARGET, now=h.clock.now())
        assert found["count"] == found["ready"] == h.demo.scenario.replicas
        said = await pods.fingerprints(h.world.cluster, TARGET)
        assert said["top"] == [{"line": "ERROR no route to host #", "count": h.demo.scenario.replicas}]
        gone = ObjectRef("apps/v1", "Deployment", NAMESPACE, "nobody")
        assert await pods.states(h.world.cluster, gone, now=h.clock.now()) is None
        assert await pods.fingerprints(h.world.cluster, gone) is None
