"""One set of policies over the news: its incidents, moved by the service's own state machine.

No person and no verdict is in a journal. So a plan stays where it is proposed, and an incident is taken for
resolved once nothing of it has fired for its monitoring window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from receiver.domain import events as ev
from receiver.domain.incidents import Incident, apply
from receiver.domain.plans import Spec
from receiver.policy.classification import Judgement, classify
from receiver.policy.grading import graded
from receiver.policy.joining import Joins, Opens, attached, takes_end
from receiver.policy.matching import applicable, correlate, matches, policy_watching
from receiver.policy.model import Mode, Policy, PolicySet
from receiver.policy.next_step import (
    DEFAULT_MONITOR,
    LOOK_AGAIN,
    RECLASSIFY,
    Classify,
    Diagnose,
    Propose,
    Record,
    next_step,
)
from receiver.policy.verification import monitoring_window
from receiver.trials.replay.history import History
from receiver.trials.replay.news import News
from receiver.trials.replay.ways import Way, ways_of

# So long after each change values may still raise a severity; rules look back over minutes.
LOOKS_FOR = timedelta(minutes=15)


@dataclass
class Course:
    """One incident as it goes on, and what would have been done."""

    incident: Incident
    opener: str = ""
    ways: list[Way] = field(default_factory=list)
    policies: set[str] = field(default_factory=set)
    unmeasured: bool = False
    reopened: int = 0
    proposed: bool = False
    # The policies that any of its alerts matches: the others need not be asked again and again.
    watching: PolicySet = field(default_factory=PolicySet)
    due: list[datetime] = field(default_factory=list)

    def add(self, at: datetime, event: ev.Event) -> None:
        """This happened to it."""
        if isinstance(event, ev.Reopened):
            self.reopened += 1
            self.proposed = False
        recorded = ev.Recorded(self.incident.last_seq + 1, at, "replay", event)
        self.incident = apply(self.incident, recorded)


class Replay:
    """The incidents that one set of policies would have made."""

    def __init__(self, policies: PolicySet, catalogue: Mapping[str, Spec], history: History) -> None:
        self._policies = policies
        self._catalogue = catalogue
        self._history = history
        self._newest: dict[str, Course] = {}
        self._of: dict[str, Course] = {}
        self._judged: dict[tuple[str, tuple[str, ...]], Judgement] = {}
        self._waits = sorted({one.match.for_ for one in policies.policies if one.mode is not Mode.DISABLED})
        self.courses: list[Course] = []

    def take(self, told: Sequence[News]) -> None:
        """The news of one delivery; as in the service, its incidents are looked at when all is joined."""
        touched = {id(course): course for one in told if (course := self._hear(one)) is not None}
        for course in touched.values():
            self._look(course, told[-1].at)

    def finish(self, now: datetime) -> None:
        """What is still to come until then."""
        for course in self.courses:
            self._pass_time(course, now)

    def _hear(self, news: News) -> Course | None:
        if isinstance(news.event, ev.AlertFired):
            return self._fired(news.event, news)
        course = self._of.get(news.event.identity)
        if course is None:
            return None
        self._pass_time(course, news.at)
        if takes_end(course.incident, news.event.identity):
            course.add(news.at, news.event)
        # An end makes nothing worse; what is proposed stays.
        return None if course.proposed else course

    def _fired(self, fired: ev.AlertFired, news: News) -> Course | None:
        if news.labels.get("alertname") in self._policies.heartbeats:
            return None
        key = correlate(news.labels, fired.identity, self._policies.correlation)
        course = self._newest.get(key.key)
        if course is not None:
            self._pass_time(course, news.at)
        match attached(None if course is None else course.incident, key, fired, now=news.at):
            case Joins(events):
                assert course is not None
            case Opens(events):
                course = self._newest[key.key] = self._opened(fired.identity, news.at)
        for event in events:
            course.add(news.at, event)
        self._of[fired.identity] = course
        self._watch(course, news.labels)
        if self._history.known:
            looks = range(1, LOOKS_FOR // RECLASSIFY + 1)
            course.due = sorted({*course.due, *(news.at + RECLASSIFY * look for look in looks)})
        return course

    def _watch(self, course: Course, labels: Mapping[str, str]) -> None:
        known = course.watching.policies
        more = [
            one
            for one in self._policies.policies
            if all(one is not other for other in known) and matches(one, labels)
        ]
        if more:
            course.watching = replace(self._policies, policies=(*known, *more))

    def _opened(self, opener: str, at: datetime) -> Course:
        course = Course(Incident(id=len(self.courses) + 1), opener)
        # The second look is for what was looked at just before the first, and is not due by then.
        waits = (at + wait + again for wait in self._waits if wait for again in (timedelta(0), LOOK_AGAIN))
        course.due = sorted(waits)
        self.courses.append(course)
        return course

    def _pass_time(self, course: Course, until: datetime) -> None:
        """Everything that is due for this incident before then."""
        while course.due and course.due[0] < until:
            at = course.due.pop(0)
            if course.incident.open and course.incident.firing:
                self._look(course, at)
        incident = course.incident
        if incident.open and not incident.firing and incident.quiet_since is not None:
            ends = incident.quiet_since + self._window(course)
            if ends < until:
                course.add(ends, ev.Resolved("replay", "nothing fired for its monitoring window"))

    def _window(self, course: Course) -> timedelta:
        sure = next((way.policy for way in course.ways if way.certain), None)
        policy = (
            policy_watching(course.watching, course.incident) if sure is None else self._policies.named(sure)
        )
        monitor = DEFAULT_MONITOR if policy is None else policy.monitor
        return monitoring_window(course.incident.severity, monitor)

    def _look(self, course: Course, at: datetime) -> None:
        """What the service would do now, step by step, until it would wait."""
        looked: frozenset[type] = frozenset()
        while True:
            step = next_step(course.incident, None, policy_hash=None, looked=looked, now=at)
            looked |= {type(step)}
            match step:
                case Classify():
                    self._classify(course, at)
                case Diagnose():
                    course.add(at, ev.Diagnosed({}, {}, ""))
                case Record(events):
                    for event in events:
                        course.add(at, event)
                case Propose() if not course.proposed:
                    return self._propose(course, at)
                case _:
                    return None

    def _classify(self, course: Course, at: datetime) -> None:
        found = applicable(course.watching, course.incident, at)
        course.policies.update(fits.policy.name for fits in found)
        labels = [alert.labels for alert in course.incident.alerts.values() if alert.firing]
        judged = [(self._judge(fits.policy, labels, at), fits.policy.name) for fits in found]
        course.unmeasured |= any(not judgement.decided for judgement, _ in judged)
        if (event := graded(course.incident, judged, labels)) is not None:
            course.add(at, event)

    def _judge(self, policy: Policy, labels: Sequence[Mapping[str, str]], at: datetime) -> Judgement:
        rules = policy.classify
        if self._history.known:
            series = self._history.series(policy.queries, start=at - rules.longest, end=at, step=rules.every)
            return classify(rules, series, labels, now=at)
        # Without a value only the labels tell, whatever the time is.
        said = tuple(dict.fromkeys(found.get("severity", "") for found in labels))
        name = (policy.name, said)
        if name not in self._judged:
            self._judged[name] = classify(rules, {}, [{"severity": text} for text in said], now=at)
        return self._judged[name]

    def _propose(self, course: Course, at: datetime) -> None:
        found = applicable(course.watching, course.incident, at)
        ways = ways_of(course.incident, found, self._catalogue, now=at)
        if not ways:
            return course.add(at, ev.NothingApplies(()))
        course.proposed = True
        course.ways += [way for way in ways if way not in course.ways]
        return None
