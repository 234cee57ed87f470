"""Follows the policy files: a good set goes live as a whole, a broken one changes nothing and is said.

Looks rather than listens: a look costs a read of a few files, and needs no word from a file system that
swaps symbolic links (a mounted ConfigMap), is a network's, or is edited a hundred times a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from receiver.announce.messages import policies_refused
from receiver.domain.canonical import digest_of
from receiver.domain.errors import PermanentError, Unavailable
from receiver.pipeline.counters import Counters
from receiver.pipeline.joining import make_all_due
from receiver.pipeline.recording import tell
from receiver.pipeline.world import Refused, World
from receiver.policy.loading import Loaded as LoadedFiles
from receiver.policy.model import PolicySet

log = structlog.get_logger(__name__)

# A good set is live within two seconds, though half of all looks may meet a file that is being written.
LOOK_EVERY = timedelta(milliseconds=250)
COMPLAINTS_SHOWN = 100

Texts = Mapping[str, str]


class Reloading:
    """One folder that is followed. ``texts`` reads its files, ``load`` makes policies of them; both may take
    a while and run beside the event loop.
    """

    def __init__(
        self,
        world: World,
        counters: Counters,
        *,
        texts: Callable[[], Texts],
        load: Callable[[Texts], LoadedFiles],
        on_taken: Callable[[], None],
    ) -> None:
        self._world = world
        self._counters = counters
        self._texts = texts
        self._load = load
        self._on_taken = on_taken
        self._seen: Texts = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            try:
                await self.look()
            except Exception:
                log.exception("the policies could not be looked at", event_code="policies_failed")

    async def look(self) -> None:
        """Take what is there, if it is new and good."""
        try:
            texts = await asyncio.to_thread(self._texts)
        except PermanentError as error:
            # Once they can be read again they are looked at again, be they the same as before.
            self._seen = {}
            await self._refuse("unreadable", (str(error),))
            return
        if texts == self._seen:
            return
        found = await asyncio.to_thread(self._load, texts)
        self._seen = texts
        files = digest_of(dict(texts))
        if found.policies is None:
            await self._refuse(files, tuple(str(complaint) for complaint in found.errors))
        else:
            await self._take(files, found.policies)

    async def _take(self, files: str, policies: PolicySet) -> None:
        loaded = self._world.loaded
        was_refused, loaded.refused = loaded.refused is not None, None
        loaded.newest = files
        if policies.hash == loaded.policies.hash:
            if was_refused:
                log.info("the policy files are good again", event_code="policies_good_again")
            return
        loaded.policies = policies
        loaded.since = self._world.clock.now()
        self._counters.policy_reloads["taken"] += 1
        log.info("policies reloaded", event_code="policies_reloaded", policies=len(policies.policies))
        try:
            await self._world.store.write(make_all_due(self._world))
        except Unavailable:
            log.warning("open incidents will see the new policies when next due", event_code="store_away")
        self._on_taken()

    async def _refuse(self, files: str, why: tuple[str, ...]) -> None:
        loaded = self._world.loaded
        if loaded.refused is not None and loaded.refused.why == why:
            return
        first = loaded.refused is None
        loaded.newest = files
        loaded.refused = Refused(files, why[:COMPLAINTS_SHOWN], self._world.clock.now())
        self._counters.policy_reloads["refused"] += 1
        log.error(
            "policies were not reloaded; the last good ones stay",
            event_code="policies_refused",
            why="\n".join(why[:COMPLAINTS_SHOWN]),
        )
        if first:
            await self._tell(why)

    async def _tell(self, why: tuple[str, ...]) -> None:
        """Once until they are good again: an editor who saves often must not fill a channel."""
        world = self._world
        message = policies_refused(why)
        key = f"policies-refused/{world.loaded.policies.hash}/{world.clock.now().isoformat()}"
        try:
            await world.store.write(lambda tx: tell(world, tx, message, key=key))
        except Unavailable:
            log.warning("nobody could be told of the refused policies", event_code="store_away")
