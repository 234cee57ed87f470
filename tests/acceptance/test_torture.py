"""Kill -9 at every place and at random: nothing that was acknowledged is lost, nothing is written twice.

The cluster runs in a process of its own and makes trouble too: it delays, drops, loses answers and lands
requests late. A seeded sample runs with the suite; `make torture` runs the whole of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arena import TROUBLE, Alone, arena
from failing_service import CARE
from shop import CURES, names

from remediations.registry import catalogue

WRITES = ("after Cluster.patch", "after Cluster.evict", "after Databases.signal", "after Endpoints.warm")
# How far behind the last write places are tried, and how many turns of each duty.
BEHIND, TURNS = 12, 2
# How many patients are spent on a place that may be passed by.
TRIES = 3
MOST_PATIENTS = 150


async def die_once_at(found: Alone, patients: Iterator[str], place: str) -> bool:
    """Let the service die at this place, in the care of another patient where it did not come by there."""
    for _ in range(TRIES if CARE in place else 1):
        if await die_at(found, next(patients), place):
            return True
    return False


async def die_at(found: Alone, app: str, place: str) -> bool:
    """Let the service die at this place while it cares for this patient, and see it through afterwards.

    Whether it came by there.
    """
    await found.service.start(environment={"FAILPOINT_AT": place, "FAILPOINT_OF": app})
    delivering = asyncio.create_task(found.deliver(app))
    end = time.monotonic() + 8
    # Another process dies: there is nothing in this one to wait for.
    while found.service.running and time.monotonic() < end:
        if CARE not in place and found.over({app}):
            break
        await asyncio.sleep(0.02)
    died = not found.service.running
    await found.restart()
    await delivering
    await found.until_over({app}, within=40)
    await found.check({app})
    found.service.kill()
    return died


async def see_all_again(found: Alone) -> None:
    """Whoever finds all of them treated repeats nothing, not even some looks later."""
    await found.restart()
    await asyncio.sleep(2)
    await found.until_over(found.acknowledged, within=40)
    await found.check(found.acknowledged)


async def find_places(found: Alone, app: str) -> list[str]:
    """The places that one patient's care passes, found by running it once."""
    log = found.service.folder / "places"
    # What is done at the very first start is not passed again.
    await found.service.start()
    await asyncio.sleep(1)
    await found.service.stop()
    await found.service.start(environment={"FAILPOINT_LOG": str(log), "FAILPOINT_OF": app})
    await found.deliver(app)
    await found.until_over({app}, within=30)
    await found.check({app})
    await found.service.stop()
    passed = log.read_text(encoding="utf-8").splitlines()
    sent = max(number for number, place in enumerate(passed) if place.endswith(WRITES))
    # The turns of a duty that come later are like those before: there was nothing to do.
    return [place for place in passed[: sent + BEHIND] if CARE in place or int(place.split()[0]) <= TURNS]


async def places(
    folder: Path, url: str, *, sample: int | None, seed: int, cure: str = "deployment.rollback"
) -> None:
    """Die at each place, or at a seeded sample of them."""
    first, *others = apps = names(1 + (MOST_PATIENTS if sample is None else TRIES * sample))
    async with arena(folder, url, apps, failing=True, cure=cure) as found:
        chosen = await find_places(found, first)
        assert len(chosen) >= 60
        if sample is not None:
            chosen = random.Random(seed).sample([place for place in chosen if CARE in place], sample)
        patients = iter(others)
        met = [await die_once_at(found, patients, place) for place in chosen]
        await see_all_again(found)
        missed = [place for place, died in zip(chosen, met, strict=True) if not died]
        print(f"died at {sum(met)} of {len(chosen)} places; not passed again: {missed}")
        # A duty may have its turn elsewhere the next time; the care of a patient is always the same.
        assert not [place for place in missed if CARE in place]


async def at_random(folder: Path, url: str, *, apps: int, kills: int, seed: int) -> None:
    """Kill it again and again while alerts arrive, plans are approved and the cluster makes trouble."""
    dice = random.Random(seed)
    wanted = set(names(apps))
    async with arena(folder, url, names(apps)) as found:
        await found.service.start()

        async def deliver_all() -> None:
            for app in sorted(wanted):
                await found.deliver(app)
                # Spread over the whole time, so that every death meets something under way.
                await asyncio.sleep(dice.uniform(0, 4 * kills / apps))

        delivering = asyncio.create_task(deliver_all())
        for _ in range(kills):
            order = {**dice.choice(TROUBLE), "method": "PATCH", "path": "/deployments/", "dry_run": False}
            await found.cluster.fault(**order)
            await asyncio.sleep(dice.uniform(0.05, 1.5))
            await found.restart()
        await delivering
        await found.until_over(wanted, within=120)
        await found.check(wanted)
        states = Counter(plan["state"] for plan in found.newest().values())
        print(f"killed {found.killed} times: {states}")


def sqlite_in(folder: Path) -> str:
    """The address of a fresh embedded store."""
    return f"sqlite:///{folder / 'stanch.sqlite3'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh store of either kind; the service prepares it."""
    if request.param == "sqlite":
        return sqlite_in(tmp_path)
    make: Callable[[], str] = request.getfixturevalue("fresh_database")
    return make()


async def test_a_death_at_some_places_loses_and_repeats_nothing(store: str, tmp_path: Path) -> None:
    await places(tmp_path, store, sample=2, seed=20261123)


async def test_a_few_random_deaths_under_load_lose_and_repeat_nothing(store: str, tmp_path: Path) -> None:
    await at_random(tmp_path, store, apps=6, kills=4, seed=7)


# One that restarts nothing, and one that is no patch; the others go with `make torture`.
@pytest.mark.parametrize("cure", [pytest.param("deployment.scale", marks=pytest.mark.long), "pod.evict"])
async def test_a_death_at_some_place_of_other_cures_loses_and_repeats_nothing(
    cure: str, tmp_path: Path
) -> None:
    await places(tmp_path, sqlite_in(tmp_path), sample=1, seed=3, cure=cure)


def test_every_remediation_has_a_story_here() -> None:
    assert CURES.keys() == catalogue().keys()


@pytest.mark.long
@pytest.mark.parametrize("cure", sorted(CURES.keys() - {"deployment.rollback"}))
async def test_a_death_at_every_place_of_every_other_cure_loses_and_repeats_nothing(
    cure: str, tmp_path: Path
) -> None:
    await places(tmp_path, sqlite_in(tmp_path), sample=None, seed=0, cure=cure)


@pytest.mark.long
async def test_a_death_at_every_place_loses_and_repeats_nothing(store: str, tmp_path: Path) -> None:
    await places(tmp_path, store, sample=None, seed=0)


@pytest.mark.long
async def test_two_hundred_random_deaths_under_load_lose_and_repeat_nothing(
    store: str, tmp_path: Path
) -> None:
    await at_random(tmp_path, store, apps=60, kills=200, seed=11)
