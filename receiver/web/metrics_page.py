"""The page about every metric, made from the table that `/metrics` is read from, so that it cannot say
anything else. `python -m receiver.web.metrics_page ALERTS` prints it; ALERTS is the chart's file of rules.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from receiver.web.measures import MEASURES, Label, Measure

HEAD = """# Metrics

Made by `python -m receiver.web.metrics_page deploy/helm/stanch/files/alerts.yaml`, from the table that
`/metrics` is read from. Counters are those of one process since its start: add them up over the replicas.
What begins with `stanch_store_`, `stanch_audit_`, `stanch_incidents_open`, `stanch_plans`,
`stanch_plans_current`, `stanch_intents` and `stanch_watchdog_` is read from the store: every replica says
the same, and none of them is there while the store is away. Whoever reaches `/metrics` reads it without
credentials; nothing in it tells what an incident is about.
"""
PROCESS = """## The process

| metric | type | meaning |
|---|---|---|
"""
# Of prometheus_client's own, which reads them from /proc: on Linux only.
OF_THE_PROCESS: Mapping[str, tuple[str, str]] = {
    "process_virtual_memory_bytes": ("gauge", "Virtual memory."),
    "process_resident_memory_bytes": ("gauge", "Memory that it holds."),
    "process_start_time_seconds": ("gauge", "When it started, in seconds of the epoch."),
    "process_cpu_seconds_total": ("counter", "Processor time, of user and system."),
    "process_open_fds": ("gauge", "Open files and connections."),
    "process_max_fds": ("gauge", "How many of them it may have."),
}


def alerts_by_metric(rules: str) -> dict[str, list[str]]:
    """Which alerts of a file of rules ask for which metric. Raises ValueError for anything else."""
    found: dict[str, list[str]] = {}
    try:
        named = [
            (rule["alert"], rule["expr"])
            for group in yaml.safe_load(rules)["groups"]
            for rule in group["rules"]
        ]
    except (KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"this is no file of alerting rules: {error}") from error
    for alert, expression in named:
        for metric in dict.fromkeys(re.findall(r"\b(?:stanch|process)_[a-z_]+", expression)):
            found.setdefault(metric, []).append(alert)
    return found


def page(rules: str) -> str:
    """All of them as Markdown, with the alerts of these rules."""
    used = alerts_by_metric(rules)
    process = (f"| `{name}` | {kind} | {text} |" for name, (kind, text) in OF_THE_PROCESS.items())
    return "\n".join(
        [
            HEAD,
            *(_section(one, used.get(one.name, [])) for one in MEASURES),
            PROCESS.rstrip("\n"),
            *process,
            "",
        ]
    )


def _section(measure: Measure, alerts: list[str]) -> str:
    lines = [f"## {measure.name}", "", f"A {measure.kind.value}. {measure.text}", ""]
    if measure.labels:
        lines += ["| label | values |", "|---|---|"]
        lines += [f"| `{label.name}` | {_values(label)} |" for label in measure.labels]
        lines.append("")
    if alerts:
        told = ", ".join(f"`{alert}`" for alert in alerts)
        lines += [f"The chart's alerts that ask for it: {told}.", ""]
    return "\n".join(lines)


def _values(label: Label) -> str:
    return label.about or ", ".join(f"`{value}`" for value in sorted(label.values))


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text(encoding="utf-8")))
