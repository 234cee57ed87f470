"""What Helm says after an installation can be pasted as it stands, and does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_rendering import CASES, environment_of, notes, of_kind, rendered, run

from receiver.web.routes import ROUTES

# What somebody has before: a team's own route, and everything else to the people on call.
BEFORE: dict[str, Any] = {
    "global": {"resolve_timeout": "5m"},
    "route": {
        "receiver": "default",
        "group_by": ["alertname"],
        "routes": [{"receiver": "payments", "matchers": ['team="payments"'], "group_by": ["alertname"]}],
    },
    "receivers": [
        {"name": "default", "webhook_configs": [{"url": "https://people.example.com/"}]},
        {"name": "payments", "webhook_configs": [{"url": "https://payments.example.com/"}]},
    ],
}


def snippet(case: str) -> dict[str, Any]:
    """The lines between the marks."""
    text = notes(case).partition("--- alertmanager.yml\n")[2].partition("\n---\n")[0]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def pasted(case: str, folder: Path) -> Path:
    """An Alertmanager's configuration with the lines put in as they say."""
    new = snippet(case)
    *first, last = new["route"]["routes"]
    route = {**BEFORE["route"], "routes": [*first, *BEFORE["route"]["routes"], last]}
    path = folder / "alertmanager.yml"
    path.write_text(
        yaml.safe_dump({**BEFORE, "route": route, "receivers": BEFORE["receivers"] + new["receivers"]}),
        encoding="utf-8",
    )
    return path


def receivers(path: Path, *labels: str) -> list[str]:
    """Who hears of an alert with these labels, as Alertmanager's own tool says."""
    done = run("amtool", "config", "routes", "test", "--config.file", path, *labels)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(",")


@pytest.mark.parametrize("case", CASES)
def test_the_lines_are_a_configuration_that_alertmanager_takes(case: str, tmp_path: Path) -> None:
    path = pasted(case, tmp_path)
    done = run("amtool", "check-config", path)
    assert done.returncode == 0, done.stdout + done.stderr
    # Nothing at all, not even what is for information only.
    done = run("amlint", "check", "--strict", "--format", "json", path)
    assert done.returncode == 0, done.stdout
    assert '"code"' not in done.stdout, done.stdout


def test_a_wrong_line_would_be_found(tmp_path: Path) -> None:
    path = pasted("default", tmp_path)
    path.write_text(path.read_text("utf-8").replace("max_alerts", "most_alerts"), encoding="utf-8")
    assert run("amtool", "check-config", path).returncode != 0


def test_whoever_heard_of_an_alert_before_still_does(tmp_path: Path) -> None:
    path = pasted("default", tmp_path)
    assert receivers(path, "alertname=HighErrorRate", "namespace=greenlang") == ["stanch", "default"]
    assert receivers(path, "alertname=HighErrorRate", "team=payments") == ["stanch", "payments"]
    assert receivers(path, "alertname=Watchdog") == ["stanch", "default"]
    # What Stanch says of itself is not for Stanch.
    assert receivers(path, "alertname=StanchDown") == ["default"]


@pytest.mark.parametrize("case", CASES)
def test_they_lead_to_the_intake_of_this_release(case: str) -> None:
    found = snippet(case)
    (receiver,) = found["receivers"]
    environment = environment_of(rendered(case))
    assert receiver["name"] == environment["STANCH_ALERTMANAGER_RECEIVER"]
    (webhook,) = receiver["webhook_configs"]
    documents = rendered(case)
    service = of_kind(documents, "Service")[0]
    (port,) = [port["port"] for port in service["spec"]["ports"] if port["name"] == "http"]
    scheme = "https" if "STANCH_TLS_CERT_FILE" in environment else "http"
    assert webhook["url"] == f"{scheme}://stanch.stanch.svc:{port}/api/v1/alerts"
    assert any((route.method, route.path) == ("POST", "/api/v1/alerts") for route in ROUTES)
    assert (webhook["max_alerts"], webhook["send_resolved"]) == (0, True)


@pytest.mark.parametrize(
    ("case", "more", "said"),
    [
        ("default", (), "alertmanager.urls is empty"),
        ("default", (), "cluster.name is empty"),
        ("default", (), "networkPolicy.apiServer.cidrs is empty"),
        ("default", (), "The GreenLang pack is loaded"),
        ("default", (), "kubectl create token YOUR-ACCOUNT --audience stanch"),
        ("everything", (), "rbac.roles is empty"),
        ("least", (), "yours, of the Secret stanch-people"),
    ],
)
def test_what_is_open_is_said(case: str, more: tuple[str, ...], said: str) -> None:
    assert said in notes(case, *more)


def test_what_is_not_open_is_not_said() -> None:
    text = notes("postgresql", "--set", "networkPolicy.apiServer.cidrs={203.0.113.10/32}")
    assert text.count("NOTE ") == 1, text
    assert "The GreenLang pack is loaded" in text
