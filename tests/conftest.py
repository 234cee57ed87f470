"""Both stores, fresh for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from real_postgres import _databases, fresh_database, postgres_server
from shop_database import shop, shop_server, standby

from receiver.store import migrate
from receiver.store.engine import Store
from receiver.store.postgres import open_postgres
from receiver.store.sqlite import open_sqlite

__all__ = ["_databases", "fresh_database", "postgres_server", "shop", "shop_server", "standby"]


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh, migrated store of either kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'stanch.sqlite3'}"
    else:
        make: Callable[[], str] = request.getfixturevalue("fresh_database")
        url = make()
    migrate.upgrade(url)
    return url


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
