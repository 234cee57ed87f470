"""Both stores, fresh for each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import structlog
from real_postgres import FreshDatabases, _databases, fresh_database, postgres_server
from shop_database import shop, shop_server, standby

from receiver.store import migrate
from receiver.store.engine import Store
from receiver.store.postgres import open_postgres
from receiver.store.sqlite import open_sqlite

# To draw an error with all that was in reach takes seconds, and a test that makes things fail makes many.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])

__all__ = ["_databases", "fresh_database", "postgres_server", "shop", "shop_server", "standby"]


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store of this release's schema, to be copied: migrating takes thirty times as long."""
    path = tmp_path_factory.mktemp("migrated") / "stanch.sqlite3"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_database(_databases: FreshDatabases) -> str:
    """The name of a PostgreSQL database of this release's schema, to be copied."""
    url = _databases.create()
    migrate.upgrade(url)
    return urlsplit(url).path.removeprefix("/")


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a fresh, migrated store of either kind."""
    if request.param == "sqlite":
        path = tmp_path / "stanch.sqlite3"
        shutil.copyfile(request.getfixturevalue("migrated_file"), path)
        yield f"sqlite:///{path}"
        return
    databases: FreshDatabases = request.getfixturevalue("_databases")
    url = databases.create(request.getfixturevalue("migrated_database"))
    yield url
    databases.drop(url)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An open store, the same tests over both."""
    opened: Store = (
        open_sqlite(migrate.sqlite_path(store_url))
        if store_url.startswith("sqlite")
        else open_postgres(store_url)
    )
    yield opened
    await opened.close()


# What a cure, a probe, a step or a message does is the same over both stores. These have tests of their own,
# and so have claims, races and locks; the rest runs over PostgreSQL with `make long`.
_ON_ONE_STORE = {
    "pipeline": {
        "test_acting_once",
        "test_approvals",
        "test_auditing",
        "test_blocking",
        "test_duties",
        "test_identities",
        "test_automatic",
        "test_diagnosing",
        "test_entitling",
        "test_evidence",
        "test_expiring",
        "test_handing_over",
        "test_isolating",
        "test_loop",
        "test_one_cause",
        "test_owing",
        "test_proposing",
        "test_reconciliation",
        "test_reloading",
        "test_security",
        "test_severity",
        "test_sizes",
        "test_telling",
        "test_tracing",
    },
    "probes": None,
    "remediations": None,
    "web": {"test_any_request", "test_rights"},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the second store of some tests to `make long`."""
    for item in items:
        modules = _ON_ONE_STORE.get(item.path.parent.name, set())
        if "[postgresql" in item.name and (modules is None or item.path.stem in modules):
            item.add_marker(pytest.mark.long)
