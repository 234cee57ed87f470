"""The databases file: every complaint at once, and no password in any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.clients.connections import read_connections
from receiver.domain.errors import PermanentError

GOOD = """
shop:
  host: db.example.com
  database: shop
  monitor: {user: stanch_monitor, password_file: /run/secrets/monitor}
  operator: {user: stanch_operator, password_file: /run/secrets/operator}
  users: [greenlang]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "databases.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_connection_verifies_the_server_unless_told_otherwise(tmp_path: Path) -> None:
    (found,) = read_connections(written(tmp_path, GOOD)).values()
    assert (found.port, found.sslmode, found.users) == (5432, "verify-full", ("greenlang",))
    context = found.tls()
    assert context
    assert context.check_hostname


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("users: [greenlang]", "users: []"), "shop.users: "),
        (("users: [greenlang]", "users: [stanch_monitor]"), "must not name our own role stanch_monitor"),
        (("host: db.example.com", "hots: db.example.com"), "shop.hots: there is no such setting"),
        (("password_file: /run/secrets/monitor", "password: hunter2"), "write password_file"),
        (("database: shop", "database: shop\n  sslmode: prefer"), "shop.sslmode: "),
        (("shop:", "Shop DB:"), "'Shop DB' is not a name"),
        (("shop:\n", "shop:\n  port: 70000\n"), "shop.port: "),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    with pytest.raises(PermanentError) as caught:
        read_connections(written(tmp_path, GOOD.replace(*change, 1)))
    assert complaint in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "shop: hunter2", "a: b: hunter2"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PermanentError) as caught:
        read_connections(written(tmp_path, text))
    assert "hunter2" not in str(caught.value)


def test_a_password_is_read_when_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "monitor"
    text = GOOD.replace("/run/secrets/monitor", str(path))
    (found,) = read_connections(written(tmp_path, text)).values()
    with pytest.raises(PermanentError, match="cannot be read"):
        found.monitor.password()
    path.write_text(" first \n")
    assert found.monitor.password() == " first "
    path.write_text("second")
    assert found.monitor.password() == "second"
    assert "second" not in repr(found)
