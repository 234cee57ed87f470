"""Plays one test: from moment to moment, and between them from one due time of the service to the next.

At one moment things happen in this order: others change the cluster, alerts arrive, people speak, and only
then is looked. So an expectation at the time of an approval sees what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import assert_never

from receiver.demo.kubernetes import ApiError
from receiver.demo.kubernetes.resources import RESOURCES
from receiver.domain.errors import StanchError
from receiver.domain.incidents import Incident
from receiver.pipeline import people
from receiver.policy.approval import Identity
from receiver.policy.model import PolicySet
from receiver.trials.policy_test.checking import Mismatch, mismatches
from receiver.trials.policy_test.model import Answer, Change, PolicyTest, Saying, Spot
from receiver.trials.policy_test.notifications import bodies_at
from receiver.trials.policy_test.seen import Seen
from receiver.trials.policy_test.stage import Stage, Stages

# Due times that come closer and closer would play for ever; a day of classifying takes some three thousand.
MOST_JUMPS = 20_000
A_MOMENT = timedelta(milliseconds=1)


@dataclass
class Played:
    """What came of one test; ``seen`` is the last look, for the timeline and the coverage."""

    test: PolicyTest
    mismatches: list[Mismatch] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    jumps: int = 0
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was played, and everything was as expected."""
        return not self.mismatches and not self.skipped

    @property
    def failed(self) -> bool:
        """Whether it was played, and something was not as expected."""
        return bool(self.mismatches)


async def play(test: PolicyTest, policies: PolicySet, stages: Stages) -> Played:
    """Play the test over these policies."""
    played = Played(test)
    async with stages.stage(test, policies) as stage:
        player = _Player(test, stage, played)
        for moment in _moments(test):
            await player.go_to(moment)
            await player.play(moment)
        played.seen = await stage.look()
        played.mismatches += _what_never_may_be(test, stage, played.seen)
    return played


def _moments(test: PolicyTest) -> list[timedelta]:
    """Every moment at which the test says that something happens, or asks."""
    found = {alert.at for alert in test.alerts} | {change.at for change in test.changes}
    found |= {answer.at for answer in test.answers} | {one.at for one in test.expectations}
    found |= {alert.until for alert in test.alerts if alert.until is not None}
    last = max((expectation.at for expectation in test.expectations), default=timedelta(0))
    # What comes after the last question can change no answer.
    return sorted(moment for moment in found if moment <= last)


class _Player:
    """One test on its stage."""

    def __init__(self, test: PolicyTest, stage: Stage, played: Played) -> None:
        self._test = test
        self._stage = stage
        self._played = played

    async def go_to(self, moment: timedelta) -> None:
        """Let the service do everything that comes due before this moment, each at its time."""
        stage, until = self._stage, self._test.clock + moment
        while (due := await stage.next_due()) is not None and due < until:
            # Due times are kept as seconds: rounding must not make one stand for ever just before now.
            await stage.jump_to(max(due, stage.clock.now() + A_MOMENT))
            await stage.work()
            self._played.jumps += 1
            if self._played.jumps > MOST_JUMPS:
                raise StanchError(f"test {self._test.name!r} does not come to an end")
        await stage.jump_to(until)

    async def play(self, moment: timedelta) -> None:
        """Everything of this moment."""
        test, stage = self._test, self._stage
        for change in test.changes:
            if change.at == moment:
                self._change(change)
        stage.api.reconcile()
        await stage.receive(bodies_at(test, moment))
        await stage.work()
        for answer in test.answers:
            if answer.at == moment:
                await self._answer(answer)
        questions = [one for one in test.expectations if one.at == moment]
        if questions:
            seen = await stage.look()
            for expectation in questions:
                self._played.mismatches += mismatches(expectation, seen)

    def _change(self, change: Change) -> None:
        plural = next(each.plural for each in RESOURCES if each.kind == change.kind)
        try:
            self._stage.api.change(plural, change.namespace, change.name, change.merge, manager=change.by)
        except ApiError as error:
            self._fail(change.spot, "patch", "it is made", str(error))

    async def _answer(self, answer: Answer) -> None:
        expected = f"{answer.by} may {answer.saying}"
        if answer.refused is not None:
            expected = f"refused: {answer.refused!r}"
        try:
            await self._say(answer)
            got = "it was taken"
        except StanchError as error:
            got = f"refused: {error}"
        well = got == "it was taken" if answer.refused is None else answer.refused in got
        if not well:
            self._fail(answer.spot, answer.saying.value, expected, got)
        await self._stage.work()

    async def _say(self, answer: Answer) -> None:
        world, who, reason = self._stage.world, Identity(answer.by, answer.groups), answer.reason
        incident = await self._stage.newest_incident()
        if incident is None:
            raise StanchError("there is no incident")
        match answer.saying:
            case Saying.APPROVE:
                await people.approve_plan(world, _plan(incident), who, digest=None, reason=reason)
            case Saying.DENY:
                await people.deny_plan(world, _plan(incident), who, reason=reason)
            case Saying.UNDO | Saying.KEEP:
                undo = answer.saying is Saying.UNDO
                await people.decide_undo(world, _plan(incident), who, undo=undo, reason=reason)
            case Saying.CLOSE:
                await people.close(world, incident.id, who, cause=reason)
            case _:
                assert_never(answer.saying)

    def _fail(self, spot: Spot, key: str, expected: str, got: str) -> None:
        self._played.mismatches.append(Mismatch(spot, key, expected, got))


def _plan(incident: Incident) -> str:
    if incident.plan is None:
        raise StanchError(f"incident {incident.id} has no plan")
    return incident.plan.plan_id


def _what_never_may_be(test: PolicyTest, stage: Stage, seen: Seen) -> Iterable[Mismatch]:
    """What is wrong whatever a test expects: it would make every answer worthless."""
    if failed := stage.counters.steps["failed"]:
        yield Mismatch(test.spot, "test", "no step fails", f"{failed} steps failed: see the log")
    for query, why in stage.prometheus.refused.items():
        yield Mismatch(test.spot, "input_series", f"{query} can be evaluated", why)
    if strangers := [write for write in seen.writes if write.kind == "unknown"]:
        got = f"{len(strangers)} writes that no timeline tells of"
        yield Mismatch(test.spot, "test", "every write is written down first", got)
