"""The demo's evaluator gives what Prometheus gives: each expression here is also put to Debian's promtool."""

from __future__ import annotations

import json
import math
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import promtool_notation
import pytest
from real_process import need_binary

from receiver.demo.prometheus import Engine, QueryError
from receiver.demo.prometheus.answers import number
from receiver.demo.prometheus.engine import as_vector
from receiver.demo.prometheus.operators import shown_labels
from receiver.demo.prometheus.series import moment
from receiver.demo.prometheus.values import Value

INTERVAL = timedelta(seconds=15)
# Sums in another order differ in the last bits; anything else is a mistake. promtool compares exactly, so
# both sides are rounded to this.
PRECISION = "1e-9"

SERIES = {
    # An API whose errors carry a label that its requests lack, one pod restarting half way.
    'gl_requests_total{app="greenlang-api",pod="a"}': "0+30x40",
    'gl_requests_total{app="greenlang-api",pod="b"}': "0+30x19 0+31x20",
    'gl_requests_total{app="other",pod="c"}': "7x40",
    'gl_errors_total{app="greenlang-api",pod="a",code="500"}': "0+4x40",
    'gl_errors_total{app="greenlang-api",pod="b",code="500"}': "0+3x19 0+5x20",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="a",le="0.1"}': "0+1x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="a",le="1"}': "0+5x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="a",le="5"}': "0+9x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="a",le="+Inf"}': "0+10x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="b",le="0.1"}': "0+8x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="b",le="1"}': "0+9x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="b",le="5"}': "0+10x40",
    'gl_api_latency_seconds_bucket{app="greenlang-api",pod="b",le="+Inf"}': "0+10x40",
    'container_cpu_usage_seconds_total{pod="a",container="api",namespace="gl"}': "0+12x40",
    'container_cpu_usage_seconds_total{pod="a",container="",namespace="gl"}': "0+13x40",
    'container_cpu_usage_seconds_total{pod="b",container="api",namespace="gl"}': "0+3.3x40",
    'container_memory_working_set_bytes{pod="a",container="api",namespace="gl"}': "900+1x40",
    'container_memory_working_set_bytes{pod="b",container="api",namespace="gl"}': "500x40",
    'kube_pod_container_resource_limits{pod="a",container="api",namespace="gl",resource="cpu"}': "1x40",
    'kube_pod_container_resource_limits{pod="b",container="api",namespace="gl",resource="cpu"}': "2x40",
    'kube_pod_container_resource_limits{pod="a",container="api",namespace="gl",resource="memory"}': "1000x40",
    'kube_pod_container_resource_limits{pod="b",container="api",namespace="gl",resource="memory"}': "1000x40",
    'node_cpu_seconds_total{instance="n1",cpu="0",mode="idle"}': "0+3x40",
    'node_cpu_seconds_total{instance="n1",cpu="1",mode="idle"}': "0+1.5x40",
    'node_cpu_seconds_total{instance="n1",cpu="0",mode="user"}': "0+12x40",
    'node_memory_MemAvailable_bytes{instance="n1"}': "400-5x40",
    'node_memory_MemTotal_bytes{instance="n1"}': "1000x40",
    'node_filesystem_avail_bytes{instance="n1",mountpoint="/",fstype="ext4"}': "100-2x40",
    'node_filesystem_size_bytes{instance="n1",mountpoint="/",fstype="ext4"}': "1000x40",
    'node_filesystem_avail_bytes{instance="n1",mountpoint="/run",fstype="tmpfs"}': "1x40",
    'node_filesystem_size_bytes{instance="n1",mountpoint="/run",fstype="tmpfs"}': "9x40",
    'kubelet_volume_stats_used_bytes{persistentvolumeclaim="data-0"}': "91x40",
    'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-0"}': "100x40",
    'kube_pod_container_status_restarts_total{namespace="gl",pod="a",container="api"}': "3x20 4x19",
    'kube_pod_container_status_restarts_total{namespace="gl",pod="b",container="api"}': "1x20 2x19",
    'kube_pod_container_status_last_terminated_reason{namespace="gl",pod="a",container="api",'
    'reason="OOMKilled"}': "1x40",
    'kube_pod_container_status_last_terminated_reason{namespace="gl",pod="b",container="api",'
    'reason="Error"}': "1x40",
    'gl_agent_executions_total{agent="carbon",status="success"}': "0+1x40",
    'gl_agent_executions_total{agent="carbon",status="failure"}': "0+3x40",
    'gl_agent_executions_total{agent="idle",status="success"}': "5x40",
    'pg_replication_lag_seconds{instance="replica-1"}': "1+2x40",
    'pg_replication_lag_seconds{instance="replica-2"}': "3x40",
    'probe_success{instance="eu"}': "1x10 0x29",
    'probe_success{instance="us"}': "1x30 0x9",
    'up{job="api",instance="a"}': "1x10 stale",
    'up{job="api",instance="b"}': "1x40",
    'up{job="api",instance="c"}': "_x5 1x5 _x29",
    'gaps{x="1"}': "1 _ 4 _x2 8 9 _x3 12 _x20 3 1 _ 5 6 7",
    'odd{x="nan"}': "NaN 1 NaN 2 NaN 3x20",
    'odd{x="inf"}': "1x20 Inf",
    'odd{x="minus"}': "-3+1x20",
    'odd{x="zero"}': "0x40",
    'late{x="1"}': "_x5 500+7x30",
    'uneven_bucket{le="1"}': "5x40",
    'uneven_bucket{le="2"}': "4x40",
    'uneven_bucket{le="3"}': "8x40",
    'uneven_bucket{le="+Inf"}': "10x40",
    'negative_bucket{le="-1"}': "5x40",
    'negative_bucket{le="1"}': "10x40",
    'negative_bucket{le="+Inf"}': "10x40",
    'left{a="1",b="1"}': "10x40",
    'left{a="1",b="2"}': "20x40",
    'left{a="2",b="1"}': "30x40",
    'right{a="1",c="x"}': "2x40",
    'right{a="2",c="y"}': "5x40",
}

ERR = (
    'sum(rate(gl_errors_total{app="greenlang-api"}[5m])) / '
    'sum(rate(gl_requests_total{app="greenlang-api"}[5m]))'
)
ALIASES = {
    "err": ERR,
    "err, floor of traffic": "sum(rate(gl_requests_total[5m])) > 0.2",
    "err, with its floor": f"({ERR}) > 0.05 and on() sum(rate(gl_requests_total[5m])) > 0.2",
    "p95": "histogram_quantile(0.95, sum by (le) (rate(gl_api_latency_seconds_bucket[5m])))",
    "p99": "histogram_quantile(0.99, sum by (le) (rate(gl_api_latency_seconds_bucket[5m])))",
    "succ": f"1 - {ERR}",
    "cpu pod": 'sum by (pod)(rate(container_cpu_usage_seconds_total{container!=""}[5m])) / '
    'sum by (pod)(kube_pod_container_resource_limits{resource="cpu"})',
    "mem pod": 'sum by (pod)(container_memory_working_set_bytes{container!=""}) / '
    'sum by (pod)(kube_pod_container_resource_limits{resource="memory"})',
    "cpu node": '1 - avg by (instance)(rate(node_cpu_seconds_total{mode="idle"}[5m]))',
    "mem node": "1 - node_memory_MemAvailable_bytes/node_memory_MemTotal_bytes",
    "disk": '1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay"}/node_filesystem_size_bytes',
    "disk pvc": "kubelet_volume_stats_used_bytes/kubelet_volume_stats_capacity_bytes",
    "oom": "increase(kube_pod_container_status_restarts_total[15m]) > 0 and on(namespace,pod,container) "
    'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1',
    "agent_succ": 'sum by (agent)(rate(gl_agent_executions_total{status="success"}[10m])) / '
    "sum by (agent)(rate(gl_agent_executions_total[10m]))",
    "lag": "max(pg_replication_lag_seconds)",
}
PLAYBOOKS_OWN_WRONG = {
    "a ratio that matches nothing": "rate(gl_errors_total[5m]) / rate(gl_requests_total[5m])",
    "NaN without traffic": 'sum(rate(gl_errors_total{app="none"}[5m]) or vector(0)) / '
    'sum(rate(gl_requests_total{app="other"}[5m]))',
    "one p95 per pod": "histogram_quantile(0.95, rate(gl_api_latency_seconds_bucket[5m]))",
}
LANGUAGE = [
    "up",
    'up{instance=~"a|b"}',
    'up{instance!~"a|b"}',
    'up{instance!="b"}',
    'up{nothing=""}',
    'up{nothing!=""}',
    '{__name__=~"left|right"}',
    "up offset 5m",
    "up offset -1m",
    "left{} offset 1h",
    *(
        f"{name}({metric}[{window}])"
        for name in ("rate", "increase", "delta", "irate", "idelta", "deriv", "changes", "resets")
        for metric, window in (("gl_requests_total", "5m"), ("gaps", "4m"), ("odd", "6m"), ("up", "3m"))
    ),
    "rate(gl_requests_total[5m] offset 2m)",
    "rate(gl_requests_total[40s])",
    "increase(gl_requests_total[15s])",
    *(
        f"{name}_over_time({metric}[5m])"
        for name in ("avg", "min", "max", "sum", "count", "last", "present")
        for metric in ("gaps", "odd", "up", "pg_replication_lag_seconds")
    ),
    "quantile_over_time(0.9, pg_replication_lag_seconds[5m])",
    "predict_linear(node_filesystem_avail_bytes[5m], 3600)",
    "max_over_time(rate(gl_errors_total[1m])[5m:30s])",
    "avg_over_time(sum(left)[3m:])",
    "avg_over_time(pg_replication_lag_seconds[4m:35s])",
    "sum_over_time(timestamp(pg_replication_lag_seconds)[5m:40s])",
    "delta(late[245s])",
    "rate(late[245s])",
    "absent_over_time(nothing[5m])",
    "absent_over_time(up[5m])",
    *(
        f"{name} {clause} ({metric})"
        for name in ("sum", "avg", "min", "max", "count", "group")
        for clause, metric in (
            ("", "left"),
            ("by (a)", "left"),
            ("without (b)", "left"),
            ("by (nothing)", "odd"),
        )
    ),
    "topk(2, left)",
    "topk by (a) (1, left)",
    "bottomk(1, left)",
    "bottomk(9, odd)",
    "topk(0, left)",
    "quantile(0.4, left)",
    "quantile by (a) (0.5, left)",
    "quantile(2, left)",
    "sum(nothing)",
    "histogram_quantile(0.5, gl_api_latency_seconds_bucket)",
    "histogram_quantile(1.5, gl_api_latency_seconds_bucket)",
    "histogram_quantile(-1, gl_api_latency_seconds_bucket)",
    'histogram_quantile(0.99, gl_api_latency_seconds_bucket{le!="+Inf"})',
    "histogram_quantile(0.05, gl_api_latency_seconds_bucket)",
    "histogram_quantile(0.5, rate(gl_api_latency_seconds_bucket[5m] offset 1h))",
    'histogram_quantile(0.5, gl_api_latency_seconds_bucket{le=~"5|.Inf"})',
    "histogram_quantile(0.7, uneven_bucket)",
    "histogram_quantile(0.3, negative_bucket)",
    "absent(nothing)",
    'absent(nothing{a="1",b=~"x",c!="y"})',
    'absent(nothing{a="1",a="2"})',
    "absent(up)",
    "absent(sum(nothing))",
    "vector(3)",
    "scalar(vector(3))",
    "scalar(left)",
    "time()",
    "timestamp(up)",
    'timestamp(gaps{x="1"})',
    "timestamp(sum(up))",
    "timestamp(up offset 1m)",
    "abs(odd)",
    "ceil(odd / 4)",
    "floor(odd / 4)",
    "sgn(odd)",
    "sqrt(odd)",
    "ln(odd)",
    "log2(left)",
    "log10(odd)",
    "clamp_min(odd, 1)",
    "clamp_max(odd, 1)",
    "clamp(odd, 0, 2)",
    "clamp(odd, 2, 0)",
    "round(left / 7)",
    "round(left / 7, 0.1)",
    "round(odd + 0.5)",
    "sort(left)",
    "sort_desc(left)",
    'label_replace(left, "z", "$1-x", "a", "(.*)")',
    'label_replace(left, "a", "", "a", "1")',
    'label_replace(left, "z", "y", "a", "no")',
    "-left",
    "-(left - right{a='0'})",
    "-2 ^ 2",
    "2 ^ 3 ^ 2",
    "1 / 0",
    "-1 / 0",
    "0 / 0",
    "5 % 0",
    "-5 % 3",
    "left % 7",
    "left / 0",
    "odd / 0",
    "odd / odd",
    "odd ^ 0.5",
    "odd ^ -1",
    "10 - left",
    "left atan2 3",
    "left > 15",
    "15 < left",
    "left > bool 15",
    "15 >= bool left",
    "odd == odd",
    "odd != odd",
    "1 == bool 1",
    "left - left",
    "left > left offset 1m",
    "left / on(a) group_left(c) right",
    "left / on(a) group_left right",
    "right * on(a) group_right left",
    "right * on(a) group_right(c) left",
    "left * ignoring(b, c) group_left right",
    "left > bool on(a) group_left right",
    "left > on(a) group_left right * 8",
    "right > on(a) group_right left / 8",
    'left{b="1"} / on(a) right',
    'left{b="1"} / ignoring(b, c) right',
    'left{b="1"} > on(a) right',
    'left{b="1"} > ignoring(b, c) right',
    'left{b="1"} > bool ignoring(b, c) right',
    "left + right",
    "left and on(a) right{c='x'}",
    "left and right",
    "left unless on(a) right{c='x'}",
    "left unless right",
    "left or right",
    "left or on(a) right",
    "right or on(a) left",
    "left and on() vector(1)",
    "left or vector(0)",
    "count(up == 1) / count(up)",
    "probe_success == 0",
    "count(probe_success == 0) >= 2",
    "up * on(instance) group_left(job) up",
    "ceil(-odd / 0)",
    "rate({__name__=~'left|odd'}[5m])",
]
MOMENTS = [timedelta(0), timedelta(minutes=5), timedelta(minutes=7, seconds=33), timedelta(minutes=10)]
MOMENTS += [timedelta(minutes=15), timedelta(minutes=16)]

ERRORS = [
    "left / on(a) right{a='1'} * on(a) left",
    "right / on(a) left",
    "left / on(a) right",
    "left * on(a) group_left left",
    "abs({__name__=~'gl_requests_total|gl_errors_total|left|right', a='1'}) + on() group_left left",
    "left + on() right",
    "sum(left) * on() group_right(b) left - on(a) group_left right",
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = Engine()
    promtool_notation.load(engine.store, SERIES, INTERVAL)
    return engine


def expected(value: Value) -> list[dict[str, Any]]:
    return [
        {
            "labels": shown_labels(element.labels),
            "value": element.value if math.isfinite(element.value) else number(element.value),
        }
        for element in as_vector(value)
    ]


def cases(engine: Engine, expression: str) -> list[dict[str, Any]]:
    """What promtool is asked about one expression: its values rounded, its names, and where it is NaN."""
    found = []
    scalar = engine.parsed(expression).kind == "scalar"
    for moment_ in MOMENTS:
        at = moment(0) + moment_
        variants = [f"vector({expression})" if scalar else expression]
        value = engine.query(variants[0], at)
        members = as_vector(value)
        if any(math.isnan(element.value) for element in members):
            # promtool holds NaN to be different from itself: ask which are NaN, and for the others' values.
            variants = [f"({variants[0]}) != bool ({variants[0]})", f"({variants[0]}) == ({variants[0]})"]
        if any(math.isfinite(e.value) and not float(e.value).is_integer() for e in members):
            variants = [f"round({variant}, {PRECISION})" for variant in variants]
        for variant in variants:
            found.append(
                {
                    "expr": variant,
                    "eval_time": f"{round(moment_.total_seconds())}s",
                    "exp_samples": expected(engine.query(variant, at)),
                }
            )
    return found


def promtool(folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run `promtool test rules` on the shared series and these cases."""
    body = {
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": s, "values": v} for s, v in SERIES.items()],
                "promql_expr_test": tests,
            }
        ],
    }
    path = folder / "test.yml"
    # JSON is YAML, but for the infinite.
    text = (
        json.dumps(body)
        .replace('"value": "+Inf"', '"value": .inf')
        .replace('"value": "-Inf"', '"value": -.inf')
    )
    path.write_text(text)
    return subprocess.run(
        [need_binary("promtool"), "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "expressions",
    [
        pytest.param(list(ALIASES.values()), id="the playbook's aliases"),
        pytest.param(list(PLAYBOOKS_OWN_WRONG.values()), id="the playbook's own wrong ones"),
        pytest.param(LANGUAGE, id="the language"),
    ],
)
def test_promtool_agrees(engine: Engine, expressions: list[str], tmp_path: Path) -> None:
    done = promtool(tmp_path, [case for expression in expressions for case in cases(engine, expression)])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", ERRORS)
def test_what_prometheus_refuses_is_refused_here(engine: Engine, expression: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError) as refused:
        engine.query(expression, moment(0) + timedelta(minutes=5))
    case = {"expr": expression, "eval_time": "5m", "exp_samples": []}
    done = promtool(tmp_path, [case])
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(refused.value).split(" for ")[0].split(":")[0] in said


def test_the_playbooks_own_queries_are_wrong_in_the_known_ways(engine: Engine) -> None:
    at = moment(0) + timedelta(minutes=5)
    nothing, nan, per_pod = (as_vector(engine.query(q, at)) for q in PLAYBOOKS_OWN_WRONG.values())
    assert nothing == []
    assert [math.isnan(element.value) for element in nan] == [True]
    assert [dict(element.labels)["pod"] for element in per_pod] == ["a", "b"]
