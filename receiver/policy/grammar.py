"""Every key that a policy file may have, with what it means: the source of the editor's schema and of the
reference page.

The loader reads files by its own code, since it must name places and remedies; a test holds its keys to
these. Nothing here is asked when a file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from receiver.domain.isolation import BY_SIGNS
from receiver.domain.plans import Risk, UndoWhen
from receiver.domain.severity import Severity
from receiver.policy.matching import API_VERSIONS
from receiver.policy.model import Mode, Scope
from receiver.policy.vocabulary import Suggested


class Form(StrEnum):
    """What kind of value stands behind a key."""

    TEXT = "text"
    WORD = "one word"
    DURATION = "duration"
    WHOLE = "whole number"
    YES = "true or false"
    SHARE = "share"
    COUNT = "whole number, 0 too"
    TEXTS = "list of texts"
    TEXT_OR_LIST = "text or list of texts"
    WORDS = "list of words"
    MATCHERS = "list of matchers"
    CEL = "CEL condition"
    PROMQL = "PromQL query"
    VALUE = "any value"
    TABLE = "mapping"
    LIST = "list of mappings"
    ONE_OR_LIST = "mapping or list of mappings"


@dataclass(frozen=True)
class Key:
    """One key. ``any_name`` stands for every name that the author chooses, such as that of a query.

    ``suggests`` says which names are likely; others are no mistake of form.
    """

    name: str
    form: Form
    meaning: str
    default: str = ""
    needed: bool = False
    words: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    any_name: bool = False
    suggests: Suggested | None = None


@dataclass(frozen=True)
class Beside:
    """A kind of file that others read; its keys stand at the top of the file and not in ``spec``."""

    kind: str
    purpose: str
    keys: tuple[Key, ...]


def named(name: str, form: Form, meaning: str, *keys: Key) -> Key:
    """A key whose name the author chooses; ``name`` says what it names."""
    return Key(name, form, meaning, keys=keys, any_name=True)


def table(name: str, meaning: str, *keys: Key, needed: bool = False, form: Form = Form.TABLE) -> Key:
    """A key with keys below it."""
    return Key(name, form, meaning, needed=needed, keys=keys)


_COUNT = Key("count", Form.WHOLE, "How many runs at most.", needed=True)
_PER = Key("per", Form.DURATION, "In any window of this length; at least 1m.", needed=True)

_MATCH = table(
    "match",
    "Which alerts this policy is about.",
    Key(
        "alerts",
        Form.MATCHERS,
        "Alertmanager's own matchers; all must hold, patterns are anchored.",
        needed=True,
    ),
    Key("for", Form.DURATION, "Only after firing this long, counted from the first receipt.", "0s"),
    needed=True,
)
_TARGET = table(
    "target",
    "The object that a cure of this policy may act on.",
    Key(
        "kind",
        Form.WORD,
        "Its kind; a `Cluster` is one of CloudNativePG.",
        needed=True,
        words=tuple(API_VERSIONS),
    ),
    Key("namespace", Form.TEXT, "Its namespace; `{{ labels.x }}` looks up a label.", needed=True),
    Key("name", Form.TEXT, "Its name; `{{ labels.x }}` looks up a label.", needed=True),
    Key(
        "namespaces",
        Form.TEXTS,
        "The closed list of namespaces it may be in; needed where the namespace comes from a label.",
        "the namespace itself",
    ),
    Key("names", Form.TEXTS, "The closed list of names it may have.", "any name"),
    needed=True,
)
_RULE = (
    Key("expr", Form.CEL, "A condition over the named queries.", needed=True),
    Key("for", Form.DURATION, "It must have held this long, read from history.", "0s"),
    Key("requires", Form.CEL, "Where this does not hold, the rule says nothing.", "nothing"),
)
_LEVELS = tuple(
    table(level.value, f"What makes it a {level}: one rule, or a list of which one is enough.", *_RULE)
    for level in Severity
)
_CLASSIFY = table(
    "classify",
    "How bad it is: every rule is asked, the most severe that holds wins.",
    Key("every", Form.DURATION, "How far apart the samples of a `for` lie; at least 1s.", "15s"),
    Key(
        "severityLabel",
        Form.TABLE,
        "What the alert's `severity` label means where no number can decide.",
        "critical and page P1, warning P2, info P3",
        keys=(
            Key(
                "label value",
                Form.WORD,
                "Case does not count.",
                words=tuple(level.value for level in Severity if level is not Severity.P0),
                any_name=True,
            ),
        ),
    ),
    *(Key(key.name, Form.ONE_OR_LIST, key.meaning, keys=key.keys) for key in _LEVELS),
)
_DIAGNOSE = table(
    "diagnose",
    "Probes that look before anything is proposed; read-only. What they find has the name given here.",
    Key("deadline", Form.DURATION, "What takes longer is missing; at least 1s.", "20s"),
    named(
        "name of the facts",
        Form.TABLE,
        "One probe.",
        Key("probe", Form.TEXT, "Which probe.", needed=True, suggests=Suggested.PROBE),
        Key("connection", Form.TEXT, "Which database, for a probe that looks at one."),
        Key("endpoint", Form.TEXT, "Which endpoint outside the cluster, for a probe that asks one."),
    ),
)
_SECURITY = table(
    "security",
    "Signs of an attack. Where one is there, nothing is healed any more: its scope is locked, what waits for "
    "approval there is cancelled, and people isolate, keep evidence and release it.",
    Key("sign", Form.TEXT, "What is seen, in one short sentence; at most 160 characters.", needed=True),
    Key("when", Form.CEL, "A condition over the facts, the queries and `labels`; unknown is no.", "always"),
    Key(
        "scope",
        Form.WORD,
        "What is locked; more where it cannot be told whose the alert is.",
        "namespace",
        words=tuple(scope.value for scope in Scope),
    ),
    table(
        "isolate",
        "What is isolated then, once a security lead or a standing approval says yes.",
        Key("act", Form.WORD, "In which way.", needed=True, words=tuple(act.value for act in BY_SIGNS)),
        Key(
            "pod",
            Form.TEXT,
            "Which pod of the target's namespace; `{{ labels.x }}` looks up a label.",
            "none",
        ),
        Key("node", Form.TEXT, "Which node; without it that of the pod.", "none"),
        form=Form.LIST,
    ),
    form=Form.LIST,
)
_PROPOSE = table(
    "propose",
    "What could help, in this order: the first whose condition holds and that no guard objects to.",
    Key("remediation", Form.TEXT, "Which remediation.", needed=True, suggests=Suggested.REMEDIATION),
    Key("why", Form.TEXT, "The reason, as the approver reads it.", "nothing"),
    Key("when", Form.CEL, "A condition over the facts, the queries and `labels`; unknown is no.", "always"),
    Key(
        "mode",
        Form.WORD,
        "Never offered, only named with its `why` to the person who takes over.",
        "offered",
        words=(Mode.DISABLED.value,),
    ),
    Key("expires", Form.DURATION, "When to propose that it be put back; a mitigation needs it.", "never"),
    table(
        "expiresWhen",
        "Propose it before `expires` is over, once this has held. It should tell of the cause, such as a "
        "provider's own health; what the mitigation itself made well says nothing.",
        Key("expr", Form.CEL, "A condition over the queries.", needed=True),
        Key("for", Form.DURATION, "How long it must have held; at least 1m.", "30m"),
        Key("every", Form.DURATION, "How often it is looked at within `for`.", "1m"),
    ),
    Key(
        "with",
        Form.TABLE,
        "The remediation's parameters; `{{ labels.x }}` in a text looks up a label.",
        keys=(
            Key(
                "parameter",
                Form.VALUE,
                "See the remediations below.",
                any_name=True,
                suggests=Suggested.PARAMETER,
            ),
        ),
    ),
    form=Form.LIST,
)
_HANDOVER = table(
    "handover",
    "What no machine does: the person's checklist, written down when the probes have answered; at most 20.",
    Key("item", Form.TEXT, "What to do, in one short sentence; at most 160 characters.", needed=True),
    Key(
        "when",
        Form.CEL,
        "A condition over the facts and `labels`, those of any alert that fires; where it is unknown the "
        "item is listed, saying what is not known.",
        "always",
    ),
    Key("shows", Form.TEXTS, "Facts whose values stand beside it, such as `rollout.current.image`.", "none"),
    Key("next", Form.TEXT, "The safe next step; at most 400 characters.", needed=True),
    Key("why", Form.TEXT, "Why no machine does it; at most 400 characters.", needed=True),
    form=Form.LIST,
)
_GUARD = table(
    "guard",
    "Numbers of the guards that always run, and guards of your own.",
    table("perTarget", "How often one object may be changed; 1 in 2h by default.", _COUNT, _PER),
    table("perPolicy", "How often this policy may act; 3 in 1h by default.", _COUNT, _PER),
    Key("minAvailable", Form.SHARE, "How much of the target must be available, such as 75%.", "50%"),
    Key("dryRunUnsupported", Form.TEXTS, "Admission webhooks known to refuse dry runs.", "none"),
    table(
        "rules",
        "Conditions that must hold before acting, also before an undo; unknown is an objection.",
        Key("cel", Form.CEL, "A condition over the queries, `labels` and `target`.", needed=True),
        Key("message", Form.TEXT, "What a person reads where it does not hold.", needed=True),
        form=Form.LIST,
    ),
)
_APPROVAL = (
    Key("from", Form.TEXTS, "Names of an Approvers file.", needed=True),
    Key("count", Form.WHOLE, "How many people; a policy may only ask for more.", "by risk"),
    Key("notRequester", Form.YES, "Not the person who asked for it.", "by risk"),
    Key(
        "ownRights",
        Form.YES,
        "Only somebody whom the cluster lets make the change by hand; else what they could not do is said.",
        "false",
    ),
    Key("reason", Form.WORD, "Whether a reason must be given.", "by risk", words=("required",)),
)
_APPROVE = table(
    "approve",
    "Who must say yes, by the risk of the plan.",
    *(table(risk.value, f"For plans that are {risk}.", *_APPROVAL) for risk in Risk),
    Key("expires", Form.DURATION, "How long people are asked; at least 1m.", "15m"),
    Key("executeWithin", Form.DURATION, "How long a yes counts; at least 10s.", "5m"),
)
_VERIFY = table(
    "verify",
    "How to tell whether it helped.",
    Key("baseline", Form.DURATION, "What counts as before, for `baseline.x` in regression.", "10m"),
    Key("settle", Form.DURATION, "Nothing is judged before the change is in place or this is over.", "5m"),
    table(
        "success",
        "It helped.",
        Key("expr", Form.CEL, "A condition over the named queries.", needed=True),
        Key("for", Form.DURATION, "It must hold this long; four samples at least.", "5m", needed=True),
        Key("every", Form.DURATION, "How far apart the samples lie; at least 1s.", "15s"),
        Key("minSamples", Form.WHOLE, "How many samples must have a value.", "four of five"),
        needed=True,
    ),
    Key("within", Form.DURATION, "By then it has helped, or it has not.", "10m"),
    table(
        "regression",
        "It made things worse: stop waiting.",
        Key("expr", Form.CEL, "A condition over the queries and `baseline`.", needed=True),
        Key("for", Form.DURATION, "It must hold this long.", "0s"),
    ),
    Key(
        "onNoData",
        Form.WORD,
        "No data is never a success.",
        "inconclusive",
        words=("inconclusive",),
    ),
)
_UNDO = table(
    "undo",
    "When to put it back.",
    Key(
        "when",
        Form.WORDS,
        "By itself on these; never on mere failure of what restarts pods.",
        "regression",
        words=tuple(UndoWhen),
    ),
    Key("ask", Form.WORDS, "Ask a person on these.", "failure", words=tuple(UndoWhen)),
)
_MONITOR = Key(
    "monitor",
    Form.DURATION,
    "How long to watch when nothing fires any more; a P0 takes 30m and a P1 60m at least.",
    "15m",
)
POLICY = (
    Key(
        "mode",
        Form.WORD,
        "disabled; shadow: only note what would have been done; propose: ask; auto: act by itself where the "
        "risk allows it.",
        needed=True,
        words=tuple(mode.value for mode in Mode),
    ),
    Key("defaults", Form.TEXT, "Sections that are missing here are taken whole from these Defaults.", "none"),
    _MATCH,
    _TARGET,
    table(
        "queries",
        "PromQL, named once and used by name in conditions. It, `classify` and `verify` are needed unless "
        "there are only signs in `security`.",
        named("name of the query", Form.PROMQL, "One number: the query must give one series."),
    ),
    _CLASSIFY,
    _DIAGNOSE,
    _SECURITY,
    _PROPOSE,
    _HANDOVER,
    _GUARD,
    _APPROVE,
    _VERIFY,
    _MONITOR,
    _UNDO,
)
DEFAULTS = (_DIAGNOSE, _GUARD, _APPROVE, _MONITOR, _UNDO)
APPROVERS = (
    named(
        "name that policies use",
        Form.TABLE,
        "Who stands behind it.",
        Key("groups", Form.TEXTS, "Groups that people's tokens carry.", needed=True),
        Key("people", Form.WHOLE, "How many people are in them; a policy that needs more is refused.", ""),
    ),
)
LIMITS = (
    table("clusterBudget", "How often anything may be changed at all; 10 in 1h by default.", _COUNT, _PER),
    table(
        "storm",
        "From so many incidents in a time on, `mode: auto` asks people; 10 in 10m by default.",
        _COUNT,
        _PER,
    ),
    Key("heartbeats", Form.TEXTS, "Alerts that always fire; never an incident.", "Watchdog"),
    table(
        "freezes",
        "When nothing is changed; an undo still is.",
        Key("weekly", Form.TEXT, "Every week, such as `Fri 16:00 - Mon 08:00`.", "once"),
        Key("from", Form.TEXT, 'Once, such as `"2026-12-20 08:00"`.', "weekly"),
        Key("until", Form.TEXT, "The end of that.", "weekly"),
        Key("zone", Form.TEXT, "Whose clocks: an IANA name such as `Europe/Berlin`.", needed=True),
        Key("why", Form.TEXT, "What people read who are held back.", needed=True),
        form=Form.LIST,
    ),
)
CORRELATION = (
    table(
        "rules",
        "The first rule that selects an alert decides.",
        Key("alerts", Form.MATCHERS, "Which alerts.", needed=True),
        Key(
            "by",
            Form.TEXTS,
            "Alerts with the same values of these are one incident; `a|b`: the first that is there.",
            needed=True,
        ),
        Key("reopen", Form.DURATION, "Firing again within this is the same incident.", "2h"),
        form=Form.LIST,
        needed=True,
    ),
)
METADATA = (
    Key("name", Form.TEXT, "Unique over all files; small letters, digits, dashes.", needed=True),
    Key("owner", Form.TEXT, "Whose policy this is.", "nobody"),
    Key("runbook", Form.TEXT, "Where people read on.", "none"),
)
# What stands in `spec`, by kind; metadata of the other kinds has a name only.
KINDS: dict[str, tuple[Key, ...]] = {
    "Policy": POLICY,
    "Correlation": CORRELATION,
    "Approvers": APPROVERS,
    "Limits": LIMITS,
    "Defaults": DEFAULTS,
}
PURPOSE: dict[str, str] = {
    "Policy": "What is done about which alerts: one file each.",
    "Correlation": "Which alerts are one incident.",
    "Approvers": "Who may say yes.",
    "Limits": "What holds for the whole cluster.",
    "Defaults": "Sections that several policies share; a policy names them with `defaults`.",
}


def tables(keys: tuple[Key, ...], what: str) -> Iterator[tuple[str, tuple[Key, ...]]]:
    """Every mapping below, with its path as complaints name it."""
    yield what, keys
    for key in keys:
        if key.keys:
            yield from tables(key.keys, f"{what}.{key.name}")
