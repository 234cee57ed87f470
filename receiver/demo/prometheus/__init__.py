"""The demo world's Prometheus: real HTTP on loopback, the demo's own clock, metrics from in-process targets.

It speaks the part of PromQL and of the HTTP API that the shipped policies and Stanch itself use, and refuses
the rest by name. Its numbers are held to those of promtool 2.42.
"""

from receiver.demo.prometheus.alerting import Alert, AlertingRule, AlertState
from receiver.demo.prometheus.engine import Engine
from receiver.demo.prometheus.errors import QueryError, UnsupportedError
from receiver.demo.prometheus.faults import Call, Faults
from receiver.demo.prometheus.scraping import Sample, Target
from receiver.demo.prometheus.server import PrometheusServer

__all__ = [
    "Alert",
    "AlertState",
    "AlertingRule",
    "Call",
    "Engine",
    "Faults",
    "PrometheusServer",
    "QueryError",
    "Sample",
    "Target",
    "UnsupportedError",
]
