"""Settings come from the environment; what is none of them is a mistake, unless Kubernetes put it there."""

from __future__ import annotations

import pytest

from receiver.domain.errors import PermanentError
from receiver.settings import read_settings


@pytest.mark.parametrize(
    "name",
    [
        "STANCH_SERVICE_HOST",
        "STANCH_SERVICE_PORT",
        "STANCH_SERVICE_PORT_HTTP",
        "STANCH_PORT",
        "STANCH_PORT_8080_TCP",
        "STANCH_PORT_8080_TCP_ADDR",
        "STANCH_METRICS_SERVICE_HOST",
    ],
)
def test_the_variables_of_a_service_named_stanch_are_no_settings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "10.0.0.1")
    read_settings()


@pytest.mark.parametrize("name", ["STANCH_SERVICE_HOSTS", "STANCH_PORTS", "STANCH_LISTENS", "STANCH_REPORT"])
def test_a_setting_that_there_is_not_is_a_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(PermanentError, match=f"{name}: there is no such setting"):
        read_settings()
