"""One `kind: Policy` read and checked: from a document's tree to the frozen `Policy`.

Everything that the file alone, the catalogue and the approvers can show to be wrong is complained about
here, section by section; what only several files together show is the loader's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from receiver.domain.isolation import BY_HAND, BY_SIGNS, Act
from receiver.domain.names import DNS_LABEL, DNS_LABEL_IS
from receiver.domain.plans import ApprovalRule, Ends, Risk, Spec, Undo, UndoWhen, Verification
from receiver.domain.redaction import SECRET_NAME
from receiver.domain.severity import Severity as Level
from receiver.policy import conditions, matchers, promql, thresholds
from receiver.policy.approval import DEFAULT_RULES
from receiver.policy.classification import DEFAULT_LABELS
from receiver.policy.complaints import Problem, Severity, did_you_mean
from receiver.policy.conditions import ANY, TEXTS, Checked
from receiver.policy.document import Document, ListNode, Node, ScalarNode, value_of
from receiver.policy.fields import Fields, as_written, each, identifier, name, report, table, text, word
from receiver.policy.matching import API_VERSIONS, DNS_SUBDOMAIN, LOOK_UP
from receiver.policy.model import (
    CORROBORATING,
    OF_ANY_KIND,
    Budget,
    Candidate,
    Classify,
    GuardRule,
    Guards,
    Handover,
    IsolationWish,
    LevelRule,
    Match,
    Matcher,
    Mode,
    Policy,
    ProbeUse,
    Scope,
    SecuritySign,
    TargetTemplate,
    told_where,
)
from receiver.policy.parameters import wrong_parameters

SECTIONS = (
    "mode",
    "match",
    "target",
    "queries",
    "classify",
    "diagnose",
    "security",
    "propose",
    "handover",
    "guard",
    "approve",
    "verify",
    "monitor",
    "undo",
)
# What policies may share: how carefully something is done, never what is done about which alert.
SHARED = ("diagnose", "guard", "approve", "monitor", "undo")
NOT_YET = "not yet in this release"
DEFAULT_MONITOR = timedelta(minutes=15)
# More points than this and one classification asks Prometheus for too much.
MAX_POINTS = 2000
# A checklist that is longer than this is read by nobody at night.
MAX_HANDOVERS = 20
MAX_ITEM, MAX_SENTENCES = 160, 400
# Fewer looks than this in the success window, and one lucky sample decides.
LOOKS_IN_WINDOW = 4

# Keys that are often written beside their section instead of in it, and stand in no other.
_BELOW = {
    "match": ("alerts",),
    "target": ("kind", "namespace", "name", "namespaces", "names"),
    "classify": ("severityLabel", *(level.value for level in Level)),
    "propose": ("remediation",),
    "handover": ("item", "shows", "next"),
    "guard": ("perTarget", "perPolicy", "minAvailable", "rules"),
    "approve": (*(risk.value for risk in Risk), "expires", "executeWithin"),
    "verify": ("success", "within", "regression", "settle", "baseline", "onNoData"),
}

# Fewer looks than this say nothing about half an hour.
ENDS_SAMPLES = 4
_ZERO, _SECOND = timedelta(0), timedelta(seconds=1)
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECRET_VALUE = re.compile(
    r"AKIA[0-9A-Z]{12,}|gh[pousr]_\w{20,}|xox[abpr]-|eyJ[\w-]{10,}\.|-----BEGIN|glpat-"
    r"|(?=[^\s/]*[a-z])(?=[^\s/]*[A-Z])(?=[^\s/]*\d)[A-Za-z0-9+_=-]{32,}"
)
_FACT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_BASELINE_OF = re.compile(r"\bbaseline\s*(?:\.\s*(\w+)|\[\s*[\"'](\w+)[\"']\s*\])")
_TARGET_FACTS: Mapping[str, Any] = {"apiVersion": "", "kind": "", "metadata": ANY, "spec": ANY, "status": ANY}
_ORDER = tuple(Risk)
# A namespace that no policy names.
_ANOTHER = "some-other-namespace"
_AUTOMATIC = (Risk.READ_ONLY, Risk.REVERSIBLE)
# A name that is misspelt is complained of once.
_WITHOUT_PODS = API_VERSIONS.keys() - {"Deployment"}


@dataclass(frozen=True)
class Approver:
    """A name that policies use: the groups that tokens carry, and how many people are in them, if said."""

    groups: tuple[str, ...]
    people: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a policy may refer to: remediations, probes with sample facts, and who approves."""

    catalogue: Mapping[str, Spec]
    probe_facts: Mapping[str, Mapping[str, Any]]
    approvers: Mapping[str, Approver]
    defaults: Mapping[str, Fields] = field(default_factory=dict)


@dataclass
class _Draft:
    """What the sections know of each other while one file is read."""

    document: Document
    around: Surroundings
    mode: Mode = Mode.PROPOSE
    queries: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    corroborating: set[str] = field(default_factory=set)
    used: list[Spec] = field(default_factory=list)
    levels: list[thresholds.Rule] = field(default_factory=list)

    @property
    def measured(self) -> dict[str, Any]:
        """Names of `classify` and `verify`: each query is one number."""
        return dict.fromkeys(self.queries, 1.0)


def read_policy(document: Document, metadata: Fields, spec: Fields, around: Surroundings) -> Policy | None:
    """The policy of one file, its ``hash`` still empty; None where its name is missing."""
    metadata.known(("name", "owner", "runbook"))
    spec.known(
        ("defaults", *SECTIONS),
        instead={
            "escalate": NOT_YET,
            "notify": NOT_YET,
            "correlate": "correlation is a kind of its own: write a file of kind Correlation",
            **{key: f"indent it under {section}" for section, keys in _BELOW.items() for key in keys},
        },
    )
    draft = _Draft(document, around)
    spec.sharing(_defaults(draft, spec))
    node = metadata.node("name", needed=True)
    called = None if node is None else name(document, node, "metadata.name")
    spec.node("mode", needed=True, add=f"mode: {', '.join(list(Mode)[:-1])} or {list(Mode)[-1]}")
    draft.mode = spec.word("mode", Mode, Mode.PROPOSE, instead={"off": 'write "disabled"'})
    match = _match(spec.table("match", needed=True))
    where = spec.table("target", needed=True)
    target = _target(where)
    _from_anywhere(where, match, target)
    # Whose incidents are attacks from the first moment on has nothing to measure, and nothing to verify.
    acts = "propose" in spec or "security" not in spec
    _queries(draft, spec.table("queries", needed=acts))
    classify = _classify(draft, spec.table("classify", needed=acts))
    deadline, probes = _diagnose(draft, spec.having("diagnose").table("diagnose"), target)
    security = _security(draft, spec)
    candidates = _propose(draft, spec, target)
    handover = _handover(draft, spec)
    guards = _guard(draft, spec.having("guard").table("guard"))
    approve = _approve(draft, spec.having("approve"))
    verification = _verify(draft, spec.table("verify", needed=acts))
    if called is None:
        return None
    return Policy(
        name=called,
        mode=draft.mode,
        match=match,
        target=target,
        queries=draft.queries,
        classify=classify,
        probes=probes,
        probe_deadline=deadline,
        candidates=candidates,
        guards=guards,
        approve=approve,
        verification=verification,
        undo=_undo(draft, spec.having("undo").table("undo")),
        monitor=spec.having("monitor").duration("monitor", DEFAULT_MONITOR),
        hash="",
        owner=metadata.text("owner") or "",
        runbook=metadata.text("runbook") or "",
        file=document.file,
        handover=handover,
        security=security,
    )


def _defaults(draft: _Draft, spec: Fields) -> Fields | None:
    """The sections that this policy shares with others, where it names them."""
    named = spec.text("defaults")
    if named is None:
        return None
    known = draft.around.defaults
    node = spec.node("defaults")
    if named not in known and node is not None:
        draft.document.complain(
            node, f'there are no defaults "{named}"', did_you_mean(named, known, of="Defaults")
        )
    return known.get(named)


def read_matchers(fields: Fields, key: str, *, needed: bool) -> tuple[Matcher, ...]:
    """A list of Alertmanager matchers, all of which must hold."""
    found: list[Matcher] = []
    nodes = fields.texts(key, needed=needed, empty="it would match every alert")
    for node, said in nodes:
        matcher, problems = matchers.parse(said)
        report(fields.document, node, problems)
        if matcher is not None:
            found.append(matcher)
    if found and len(found) == len(nodes) and all(matcher.holds({}) for matcher in found):
        fields.document.complain(
            fields.key(key),
            "these matchers match every alert that lacks the labels",
            "name an alert or an app",
        )
    return tuple(found)


def _match(fields: Fields) -> Match:
    fields.known(("alerts", "for"))
    return Match(read_matchers(fields, "alerts", needed=True), fields.duration("for", _ZERO))


def _target(fields: Fields) -> TargetTemplate:
    fields.known(("kind", "namespace", "name", "namespaces", "names"))
    document = fields.document
    kind = fields.text("kind", needed=True) or "Deployment"
    if kind not in API_VERSIONS and (node := fields.node("kind")) is not None:
        document.complain(node, f'target.kind "{kind}" is not known', did_you_mean(kind, API_VERSIONS))
    namespace = _template(fields, "namespace", _NAMESPACE)
    called = _template(fields, "name", _OBJECT_NAME)
    listed = fields.texts("namespaces", empty="name the namespaces it may act in")
    for node, said in listed:
        if said.startswith("kube-"):
            document.complain(node, f"namespace {said} belongs to the cluster: no policy may act there")
        elif "*" in said:
            document.complain(node, "namespaces take no wildcard", "list each namespace by name")
        elif not _NAMESPACE.fullmatch(said):
            document.complain(node, f"{said[:60]!r} is no valid namespace")
    namespaces = tuple(said for _, said in listed)
    names = tuple(said for _, said in fields.texts("names", empty="leave it out if any name is meant"))
    if "{{" in namespace and "namespaces" not in fields and fields.readable:
        document.complain(
            fields.key("namespace"),
            "the namespace comes from a label, so target.namespaces must list where it may act",
            "add namespaces: [...]; whoever can write a label could aim anywhere otherwise",
        )
    elif "{{" not in namespace and namespace:
        if namespace.startswith("kube-"):
            document.complain(fields.key("namespace"), f"namespace {namespace} belongs to the cluster")
        if namespaces and namespace not in namespaces:
            document.complain(
                fields.key("namespace"), f"namespace {namespace} is not among target.namespaces"
            )
        namespaces = namespaces or (namespace,)
    return TargetTemplate(kind, namespace, called, namespaces, names)


def _from_anywhere(fields: Fields, match: Match, target: TargetTemplate) -> None:
    """Warn where an alert of any namespace would change a target that always stands in one."""
    if not match.matchers or not target.namespace or "{{" in target.namespace:
        return
    if all(
        matcher.holds({"namespace": _ANOTHER}) for matcher in match.matchers if matcher.label == "namespace"
    ):
        fields.document.complain(
            fields.key("namespace"),
            f"an alert of any namespace would change this target in {target.namespace}",
            f'add namespace="{target.namespace}" to match.alerts',
            severity=Severity.WARNING,
        )


def _template(fields: Fields, key: str, valid: re.Pattern[str]) -> str:
    said = fields.text(key, needed=True)
    node = fields.node(key)
    if said is None or not isinstance(node, ScalarNode):
        return ""
    rest = LOOK_UP.sub("x", said)
    if (found := re.search(r"\{\{.*?(\}\}|$)|\}\}|\{%|\$\{", rest)) is not None:
        offset = said.find(found.group())
        fields.document.complain(
            fields.document.inside(node, max(offset, 0)),
            f"{fields.what}.{key}: only label look-ups are allowed in a template",
            "write {{ labels.name }}",
            length=len(found.group()),
        )
    elif not valid.fullmatch(rest):
        fields.document.complain(node, f"{fields.what}.{key} {said[:60]!r} is not a valid name")
    return said


def _queries(draft: _Draft, fields: Fields) -> None:
    if fields.readable and not list(fields.entries()):
        draft.document.complain(fields.at, "spec.queries is empty", "name at least one query")
    for key, node in fields.entries():
        called = identifier(draft.document, key, "query", conditions.RESERVED)
        query = text(draft.document, node, f"queries.{key.text}")
        if query is not None and isinstance(node, ScalarNode):
            report(draft.document, node, promql.check(query))
        if called is not None:
            draft.queries[called] = query or ""


def _condition(
    draft: _Draft, fields: Fields, key: str, samples: Mapping[str, Any], called: str, *, needed: bool = True
) -> tuple[str, Checked] | None:
    """A condition with what checking it found; None where it is missing or no text."""
    said = fields.text(key, needed=needed)
    node = fields.node(key)
    if said is None or not isinstance(node, ScalarNode):
        return None
    checked = conditions.check(said, samples, called=called)
    report(fields.document, node, checked.problems)
    report(fields.document, node, thresholds.wrong_units(checked, draft.queries))
    return said, checked


def _classify(draft: _Draft, fields: Fields) -> Classify:
    levels_known = [level.value for level in Level]
    fields.known(
        ("severityLabel", "every", *levels_known),
        instead={"requires": "each rule has its own: P0: {expr: ..., requires: ...}"},
    )
    every = fields.duration("every", timedelta(seconds=15), least=_SECOND)
    levels: dict[Level, tuple[LevelRule, ...]] = {}
    rules: list[thresholds.Rule] = []
    nodes: list[ScalarNode] = []
    for level in Level:
        node = fields.node(level.value)
        alternatives: list[LevelRule] = []
        for place in list(node.items) if isinstance(node, ListNode) else [] if node is None else [node]:
            found = _level_rule(draft, table(draft.document, place, f"classify.{level}"), every)
            if found is None:
                continue
            rule, expression, checked = found
            alternatives.append(rule)
            if checked.sound:
                rules.append(thresholds.Rule(level, len(nodes), checked))
            nodes.append(expression)
        if alternatives:
            levels[level] = tuple(alternatives)
    if fields.readable and not any(level in fields for level in levels_known):
        draft.document.complain(fields.at, "classify names no level", "add P1: {expr: ..., for: 2m}")
    draft.levels = rules
    for index, problem in (*thresholds.out_of_order(rules), *thresholds.gaps(rules)):
        report(draft.document, nodes[index], [problem])
    return Classify(levels, _severity_label(fields), every)


def _level_rule(
    draft: _Draft, fields: Fields, every: timedelta
) -> tuple[LevelRule, ScalarNode, Checked] | None:
    if not fields.readable:
        return None
    fields.known(("expr", "for", "requires"))
    found = _condition(draft, fields, "expr", draft.measured, "query")
    held = fields.duration("for", _ZERO)
    if held / every > MAX_POINTS:
        draft.document.complain(
            fields.key("for"),
            f"{as_written(held)} every {as_written(every)} is more than {MAX_POINTS} points",
        )
    requires = _condition(draft, fields, "requires", draft.measured, "query", needed=False)
    node = fields.node("expr")
    if found is None or not isinstance(node, ScalarNode):
        return None
    return LevelRule(found[0], held, None if requires is None else requires[0]), node, found[1]


def _severity_label(fields: Fields) -> Mapping[str, Level]:
    if "severityLabel" not in fields:
        return dict(DEFAULT_LABELS)
    labels = fields.table("severityLabel")
    found: dict[str, Level] = {}
    for key, node in labels.entries():
        level = word(fields.document, node, f"severityLabel.{key.text}", Level)
        if level is Level.P0:
            fields.document.complain(
                node, "a label alone never makes a P0", "write P1: measurements raise it from there"
            )
        if key.text.lower() in found:
            fields.document.complain(key, f'"{key.text}" stands here twice: case does not count')
        elif level is not None:
            found[key.text.lower()] = level
    return found


def _diagnose(
    draft: _Draft, fields: Fields, target: TargetTemplate
) -> tuple[timedelta, tuple[ProbeUse, ...]]:
    deadline = fields.duration("deadline", timedelta(seconds=20), least=_SECOND)
    probes: list[ProbeUse] = []
    for key, node in fields.entries():
        if key.text == "deadline":
            continue
        called = identifier(fields.document, key, "probe", conditions.RESERVED)
        uses = table(fields.document, node, f"diagnose.{key.text}", at=key)
        probe = uses.text("probe", needed=True)
        facts: Any = ANY
        named = uses.node("probe")
        if probe is not None and named is not None:
            facts = draft.around.probe_facts.get(probe, ANY)
            if facts is ANY:
                hint = did_you_mean(probe, draft.around.probe_facts)
                fields.document.complain(named, f'there is no probe "{probe}"', hint)
        if called is not None and called in draft.queries:
            fields.document.complain(
                key, f'probe "{called}" has the name of a query', "a condition could mean either: rename one"
            )
        for_it = (
            target.kind not in _WITHOUT_PODS or told_where(probe or "") is not None or probe in OF_ANY_KIND
        )
        if not for_it and facts is not ANY and named is not None:
            fields.document.complain(named, f"{probe} looks at a Deployment, not at a {target.kind}")
        parameters = _where(uses, probe or "")
        if called is not None:
            draft.facts[called] = facts
            if probe in CORROBORATING:
                draft.corroborating.add(called)
            probes.append(ProbeUse(called, probe or "", parameters))
    return deadline, tuple(probes)


def _security(draft: _Draft, spec: Fields) -> tuple[SecuritySign, ...]:
    found: list[SecuritySign] = []

    def sign(fields: Fields) -> None:
        fields.known(("sign", "when", "scope", "isolate"))
        samples = {**draft.measured, **draft.facts, "labels": TEXTS}
        when = _condition(draft, fields, "when", samples, "query or fact", needed=False)
        if when is not None:
            _not_by_hearsay(draft, fields, when[1].names - {"labels"})
        scope = fields.word("scope", Scope, Scope.NAMESPACE)
        condition = None if when is None else when[0]
        isolate = _isolate(fields)
        found.append(SecuritySign(_sentence(fields, "sign", MAX_ITEM), condition, scope, isolate))

    each(draft.document, spec.items("security", empty="leave it out"), "security", sign)
    return tuple(found)


def _isolate(sign: Fields) -> tuple[IsolationWish, ...]:
    found: list[IsolationWish] = []

    def wish(fields: Fields) -> None:
        fields.known(("act", "pod", "node"))
        fields.node("act", needed=True, add=f"act: {' or '.join(BY_SIGNS)}")
        act = fields.word("act", Act, Act.POD_QUARANTINE)
        if act in BY_HAND:
            fields.document.complain(
                fields.node("act") or fields.at,
                f"{act} is asked for by people only: who writes an alert would choose who is shut out",
                "leave it out; stanch incidents isolate asks for it",
            )
            return
        pod, node = fields.text("pod") or "", fields.text("node") or ""
        for key, said in (("pod", pod), ("node", node)):
            left = LOOK_UP.sub("x", said)
            if (where := fields.node(key)) is None or not left:
                continue
            if "{{" in left:
                fields.document.complain(
                    where, "only label look-ups are allowed here", "write {{ labels.name }}"
                )
            elif not DNS_SUBDOMAIN.fullmatch(left):
                fields.document.complain(where, f"{key} is no name", "small letters, digits, - and . only")
        if act is Act.POD_QUARANTINE and node:
            fields.document.complain(fields.at, "pod.quarantine takes a pod, not a node", "write pod:")
        elif bool(pod) == bool(node):
            fields.document.complain(
                fields.at, f"{act} needs one pod" + ("" if act is Act.POD_QUARANTINE else " or one node")
            )
        found.append(IsolationWish(act, pod, node))

    each(sign.document, sign.items("isolate", empty="leave it out"), f"{sign.what}.isolate", wish)
    return tuple(found)


def _where(uses: Fields, probe: str) -> dict[str, str]:
    """A probe looks at the target, or at the place that it names; other settings there are none.

    Whether there is such a place, the service knows: the names stand in a file beside it.
    """
    setting = told_where(probe)
    if setting is None:
        uses.known(("probe",))
        return {}
    uses.known(("probe", setting))
    name = uses.text(setting, needed=True)
    if name is None:
        return {}
    if not DNS_LABEL.fullmatch(name) and (node := uses.node(setting)) is not None:
        uses.document.complain(node, f"{setting} is a name in the service's file: {DNS_LABEL_IS}")
    return {setting: name}


def _propose(draft: _Draft, spec: Fields, target: TargetTemplate) -> tuple[Candidate, ...]:
    found: list[Candidate] = []

    def candidate(fields: Fields) -> None:
        fields.known(
            ("remediation", "why", "when", "with", "mode", "expires", "expiresWhen"),
            instead={"action": 'write "remediation"'},
        )
        named = fields.text("remediation", needed="action" not in fields)
        disabled = _disabled(fields)
        # What is never offered may be one that does not exist yet.
        known = None
        if named is not None and not disabled:
            known = _remediation(draft, fields, named, target, spec)
        why = fields.text("why", needed=disabled) or ""
        if "{{" in why and (node := fields.node("why")) is not None:
            draft.document.complain(node, f"templates in why are {NOT_YET}", "write plain text")
        samples = {**draft.measured, **draft.facts, "labels": TEXTS}
        when = _condition(draft, fields, "when", samples, "query or fact", needed=False)
        parameters = _parameters(draft, fields, known)
        condition = None if when is None else when[0]
        if when is not None:
            _not_by_hearsay(draft, fields, when[1].names - {"labels"})
        expires = _expires(fields, known)
        ends = _ends(draft, fields) if "expiresWhen" in fields else None
        found.append(Candidate(named or "", why, condition, parameters, disabled, expires, ends))

    each(draft.document, spec.items("propose"), "propose", candidate)
    return tuple(found)


def _not_by_hearsay(draft: _Draft, fields: Fields, names: frozenset[str]) -> None:
    """A status page tells late and is kind to its owner (playbook, row 001.3a): own numbers decide."""
    if names and names <= draft.corroborating:
        fields.document.complain(
            fields.key("when"),
            f"only a status page would decide here: {', '.join(sorted(names))}",
            "ask for a query of your own as well",
            severity=Severity.WARNING,
        )


def _expires(fields: Fields, known: Spec | None) -> timedelta | None:
    if "expires" in fields:
        if known is not None and not known.reversible:
            fields.document.complain(
                fields.key("expires"), f"{known.name} cannot be undone, so it cannot expire", "leave it out"
            )
        return fields.duration("expires", _ZERO, least=timedelta(minutes=1)) or None
    if known is not None and known.mitigates:
        fields.document.complain(
            fields.key("remediation"),
            f"{known.name} is a mitigation and no cure: say when it should be put back",
            "add expires: 24h",
        )
    return None


def _ends(draft: _Draft, fields: Fields) -> Ends | None:
    if "expires" not in fields:
        message = "expiresWhen has no expires beside it: what it waits for may never come"
        draft.document.complain(fields.key("expiresWhen"), message, "add expires: 24h")
    inner = fields.table("expiresWhen").known(("expr", "for", "every"))
    condition = _condition(draft, inner, "expr", draft.measured, "query")
    held_for = inner.duration("for", timedelta(minutes=30), least=timedelta(minutes=1))
    every = inner.duration("every", timedelta(minutes=1), least=_SECOND)
    if held_for / every < ENDS_SAMPLES and inner.readable:
        message = f"{as_written(held_for)} has fewer than {ENDS_SAMPLES} looks, one each {as_written(every)}"
        draft.document.complain(inner.at, f"expiresWhen: {message}", "take a longer for or a shorter every")
    if condition is None:
        return None
    return Ends(condition[0], held_for, every, _most_of(held_for, every), _used_queries(draft, condition))


def _disabled(fields: Fields) -> bool:
    said = fields.text("mode")
    if said not in (None, Mode.DISABLED.value) and (node := fields.node("mode")) is not None:
        message = f"{fields.what}.mode {said[:40]!r}: a candidate can only be disabled"
        fields.document.complain(node, message, "how far the policy goes is spec.mode")
    return said == Mode.DISABLED.value


def _remediation(
    draft: _Draft, fields: Fields, named: str, target: TargetTemplate, spec: Fields
) -> Spec | None:
    known = draft.around.catalogue.get(named)
    node = fields.node("remediation")
    assert node is not None
    if known is None:
        hint = did_you_mean(named, draft.around.catalogue)
        draft.document.complain(node, f'there is no remediation "{named}"', hint)
        return None
    draft.used.append(known)
    if target.kind in API_VERSIONS and target.kind not in known.target_kinds:
        kinds = ", ".join(sorted(known.target_kinds))
        draft.document.complain(node, f"{named} acts on {kinds}, not on {target.kind}")
    if draft.mode is Mode.AUTO and known.risk not in _AUTOMATIC and (mode := spec.node("mode")) is not None:
        draft.document.complain(
            mode, f'mode: auto is not allowed: remediation "{named}" is {known.risk}', 'use "propose"'
        )
    return known


def _parameters(draft: _Draft, fields: Fields, known: Spec | None) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    places: dict[str, tuple[Node, Node]] = {}
    for key, node in fields.table("with").entries():
        value = found[key.text] = value_of(node)
        places[key.text] = key, node
        if isinstance(value, str) and "{{" in LOOK_UP.sub("", value):
            draft.document.complain(node, "only label look-ups are allowed here", "write {{ labels.name }}")
        elif isinstance(value, str) and (SECRET_NAME.search(key.text) or _SECRET_VALUE.search(value)):
            draft.document.complain(
                node, "this looks like a secret", "refer to a Secret by name", severity=Severity.WARNING
            )
    # What stands in the labels is checked when they are there.
    fixed = frozenset() if known is None else known.parameters.fixed
    sample = {
        name: LOOK_UP.sub("x", each) if isinstance(each, str) and name not in fixed else each
        for name, each in found.items()
    }
    for problem in () if known is None else wrong_parameters(known, sample):
        nowhere = fields.key("with") if "with" in fields else fields.at
        named, valued = places.get(problem.name, (nowhere, nowhere))
        draft.document.complain(named if problem.about_name else valued, problem.message, problem.hint)
    return found


def _handover(draft: _Draft, spec: Fields) -> tuple[Handover, ...]:
    found: list[Handover] = []

    def entry(fields: Fields) -> None:
        fields.known(
            ("item", "when", "shows", "next", "why"),
            instead={"remediation": "what is offered stands under propose"},
        )
        item = _sentence(fields, "item", MAX_ITEM)
        if item and any(other.item == item for other in found):
            fields.document.complain(fields.key("item"), f'"{item[:60]}" stands here twice', "make it one")
        when = _condition(draft, fields, "when", {**draft.facts, "labels": TEXTS}, "fact", needed=False)
        shows = tuple(_shown(draft, node, said) for node, said in fields.texts("shows"))
        step, why = _sentence(fields, "next", MAX_SENTENCES), _sentence(fields, "why", MAX_SENTENCES)
        found.append(Handover(item, step, why, None if when is None else when[0], shows))

    nodes = spec.items("handover")
    if len(nodes) > MAX_HANDOVERS:
        message = f"spec.handover has {len(nodes)} entries; {MAX_HANDOVERS} are allowed"
        draft.document.complain(nodes[MAX_HANDOVERS], message, "keep what a person can work off")
    each(draft.document, nodes, "handover", entry)
    return tuple(found)


def _sentence(fields: Fields, key: str, most: int) -> str:
    """A text that people read as it stands."""
    said = fields.text(key, needed=True)
    node = fields.node(key)
    if said is None or node is None:
        return ""
    if not said.strip():
        fields.document.complain(node, f"{fields.what}.{key} is empty", "write one sentence")
    if len(said) > most:
        message = f"{fields.what}.{key} has {len(said)} characters; {most} are allowed"
        fields.document.complain(node, message, "say the rest in the runbook")
    if "{{" in said:
        fields.document.complain(
            node, f"templates in {key} are {NOT_YET}", "name facts under shows" if key != "item" else ""
        )
    return said


def _shown(draft: _Draft, node: ScalarNode, path: str) -> str:
    """The path of a fact or a label, complained about where there is none such."""
    if not _FACT_PATH.fullmatch(path):
        draft.document.complain(
            node, f"{path[:60]!r} is no path of a fact", "write the probe's name, a dot and its fact"
        )
        return path
    known: Any = {**draft.facts, "labels": TEXTS}
    offset = 0
    for part in path.split("."):
        if known is TEXTS:
            known = ""
        elif isinstance(known, Mapping) and part in known:
            known = known[part]
        elif known is not ANY:
            names = tuple(known) if isinstance(known, Mapping) else ()
            where = f'"{path[: offset - 1]}" has no' if offset else "there is no fact"
            place = draft.document.inside(node, offset)
            draft.document.complain(
                place, f'{where} "{part}"', did_you_mean(part, names, of="there are"), length=len(part)
            )
            break
        offset += len(part) + 1
    return path


def _guard(draft: _Draft, fields: Fields) -> Guards:
    fields.known(("perTarget", "perPolicy", "minAvailable", "dryRunUnsupported", "rules"))
    rules: list[GuardRule] = []
    samples = {**draft.measured, "labels": TEXTS, "target": _TARGET_FACTS}

    def rule(inner: Fields) -> None:
        inner.known(("cel", "message"))
        found = _condition(draft, inner, "cel", samples, "fact")
        message = inner.text("message", needed=True)
        if found is not None and message is not None:
            rules.append(GuardRule(found[0], message))

    each(fields.document, fields.items("rules"), "guard.rules", rule)
    default = Guards()
    return Guards(
        per_target=budget(fields, "perTarget", default.per_target),
        per_policy=budget(fields, "perPolicy", default.per_policy),
        min_available=fields.share("minAvailable", default.min_available),
        rules=tuple(rules),
        dry_run_unsupported=tuple(said for _, said in fields.texts("dryRunUnsupported")),
    )


def budget(fields: Fields, key: str, default: Budget) -> Budget:
    """``{count: 1, per: 2h}``."""
    if key not in fields:
        return default
    inner = fields.table(key).known(("count", "per"))
    return Budget(
        inner.whole("count", default.count, needed=True),
        inner.duration("per", default.per, needed=True, least=timedelta(minutes=1)),
    )


def _approve(draft: _Draft, spec: Fields) -> Mapping[Risk, ApprovalRule]:
    """A rule for every risk: what the policy says, else the default, in groups that tokens carry."""
    fields = spec.table("approve")
    fields.known((*(risk.value for risk in Risk), "expires", "executeWithin"))
    expires = fields.duration("expires", timedelta(minutes=15), least=timedelta(minutes=1))
    within = fields.duration("executeWithin", timedelta(minutes=5), least=timedelta(seconds=10))
    needed = {spec.risk for spec in draft.used}
    rules: dict[Risk, ApprovalRule] = {}
    for risk, default in DEFAULT_RULES.items():
        inner = fields.table(risk.value) if risk.value in fields else None
        names = [(None, said) for said in default.groups] if inner is None else _names(inner)
        unknown = [(node, said) for node, said in names if said not in draft.around.approvers]
        if inner is None and risk in needed and unknown:
            _nobody_named(draft, spec, risk, [said for _, said in names], [said for _, said in unknown])
        for node, said in unknown if inner is not None else ():
            hint = did_you_mean(said, draft.around.approvers, of="approvers")
            fields.document.complain(node or fields.at, f'"{said}" is not in any Approvers file', hint)
        known = [draft.around.approvers[said] for _, said in names if said in draft.around.approvers]
        rule = _rule(inner, default)
        if not unknown:
            _reachable(draft, inner, rule, known)
        rules[risk] = ApprovalRule(
            groups=tuple(dict.fromkeys(group for approver in known for group in approver.groups)),
            count=rule.count,
            not_requester=rule.not_requester,
            reason_required=rule.reason_required,
            expires=expires,
            execute_within=within,
            in_turn=tuple(dict.fromkeys(approver.groups for approver in known)),
            own_rights=rule.own_rights,
        )
    return rules


def _nobody_named(draft: _Draft, spec: Fields, risk: Risk, asked: list[str], unknown: list[str]) -> None:
    """Complain that a policy leaves it to the default who is asked, and that those are not known here."""
    known = sorted(draft.around.approvers)
    missing = " and ".join(f'"{name}"' for name in unknown)
    spec.document.complain(
        spec.key("approve"),
        f"approve.{risk} is missing, so {' and '.join(asked)} are asked by default, "
        f"and {missing} {'is' if len(unknown) == 1 else 'are'} not in any Approvers file",
        f"add approve: {{{risk}: {{from: [{known[0] if known else '...'}]}}}}"
        + ("" if known else ", and a file of kind Approvers"),
    )


def _names(inner: Fields) -> list[tuple[Node | None, str]]:
    return [*inner.texts("from", needed=True, empty="nobody could approve")]


def _rule(inner: Fields | None, default: ApprovalRule) -> ApprovalRule:
    """Count, requester and reason as the policy says; it may only tighten what is the default."""
    if inner is None:
        return default
    inner.known(("from", "count", "notRequester", "reason", "ownRights"))
    count = inner.whole("count", default.count, most=20)
    not_requester = inner.yes("notRequester", default.not_requester)
    own_rights = inner.yes("ownRights", default.own_rights)
    reason = inner.text("reason")
    if reason not in (None, "required") and (node := inner.node("reason")) is not None:
        inner.document.complain(node, f"{inner.what}.reason {reason!r} is not known", 'write "required"')
    loosened = [
        ("count", count < default.count, f"at least {default.count} people"),
        ("notRequester", default.not_requester and not not_requester, "somebody other than the requester"),
    ]
    for key, looser, rule in loosened:
        if looser:
            inner.document.complain(inner.key(key), f"{inner.what} needs {rule}: a policy may only tighten")
    return ApprovalRule(
        default.groups,
        count,
        not_requester,
        reason == "required" or default.reason_required,
        own_rights=own_rights,
    )


def _reachable(draft: _Draft, inner: Fields | None, rule: ApprovalRule, known: list[Approver]) -> None:
    if inner is None or not known or any(approver.people is None for approver in known):
        return
    people = sum(approver.people or 0 for approver in known)
    if people < rule.count:
        inner.document.complain(
            inner.key("count"), f"{inner.what} needs {rule.count} people, and its approvers are {people}"
        )


def _verify(draft: _Draft, fields: Fields) -> Verification:
    fields.known(("baseline", "settle", "success", "within", "regression", "onNoData"))
    on_no_data = fields.text("onNoData")
    if on_no_data not in (None, "inconclusive") and (node := fields.node("onNoData")) is not None:
        draft.document.complain(
            node, f"verify.onNoData {on_no_data!r}: no data is never a success", 'write "inconclusive"'
        )
    samples = {**draft.measured, "baseline": draft.measured}
    success = fields.table("success", needed=True)
    success.known(
        ("expr", "for", "every", "minSamples"), instead={"within": "it stands beside success, in verify"}
    )
    good = _condition(draft, success, "expr", samples, "query")
    if good is not None and "baseline" in good[1].names:
        draft.document.complain(
            success.key("expr"),
            "a success that needs the baseline cannot tell whether an earlier release was good",
            "compare with a number, and use the baseline in regression",
            severity=Severity.WARNING,
        )
    regression = fields.table("regression").known(("expr", "for"))
    bad = _condition(draft, regression, "expr", samples, "query") if "regression" in fields else None
    _doubts(draft, success, None if good is None else good[1], regression, None if bad is None else bad[1])
    settle = max((spec.settle for spec in draft.used), default=timedelta(minutes=5))
    held = success.duration("for", timedelta(minutes=5), needed=True)
    every = success.duration("every", timedelta(seconds=15), least=_SECOND)
    verification = Verification(
        queries=_used_queries(draft, good, bad),
        success="false" if good is None else good[0],
        success_for=held,
        every=every,
        min_samples=success.whole("minSamples", _most_of(held, every), most=100_000),
        settle=fields.duration("settle", settle),
        within=fields.duration("within", timedelta(minutes=10), least=_SECOND),
        baseline=fields.duration("baseline", timedelta(minutes=10), least=_SECOND),
        regression=None if bad is None else bad[0],
        regression_for=regression.duration("for", _ZERO),
    )
    _windows(draft, fields, success, regression, verification)
    return verification


def _doubts(
    draft: _Draft, success: Fields, well: Checked | None, regression: Fields, worse: Checked | None
) -> None:
    """Warn where the conditions of `verify` could not tell well from ill."""
    found: list[tuple[Node | None, list[Problem]]] = []
    if well is not None and well.sound:
        problems = thresholds.no_bound(well, draft.levels, draft.queries)
        found.append((success.node("expr"), problems or thresholds.well_when_ill(well, draft.levels)))
    if worse is not None and worse.sound:
        problems = thresholds.no_bound(worse, draft.levels, draft.queries)
        found.append((regression.node("expr"), problems + thresholds.better_taken_for_worse(worse)))
    for node, problems in found:
        if isinstance(node, ScalarNode):
            report(draft.document, node, problems)


def _most_of(window: timedelta, every: timedelta) -> int:
    """Four of five samples: a lost scrape or two are no reason to wait again."""
    return max(1, math.ceil(0.8 * (window / every)))


def _used_queries(draft: _Draft, *found: tuple[str, Checked] | None) -> dict[str, str]:
    used: set[str] = set()
    for condition in found:
        if condition is not None:
            used |= condition[1].names
            used |= {one or other for one, other in _BASELINE_OF.findall(condition[0])}
    return {called: query for called, query in draft.queries.items() if called in used}


def _windows(draft: _Draft, fields: Fields, success: Fields, regression: Fields, said: Verification) -> None:
    """The windows must fit into each other, or the answer is always the same."""
    complain = draft.document.complain
    held, within, every = as_written(said.success_for), as_written(said.within), as_written(said.every)
    if said.within < said.success_for:
        complain(
            fields.key("within"),
            f"verify.within ({within}) is shorter than success.for ({held}): it could never succeed",
            f"write within: {held} or more",
        )
    if said.success_for < said.every * LOOKS_IN_WINDOW:
        complain(
            success.key("for"),
            f"success.for ({held}) has fewer than {LOOKS_IN_WINDOW} samples at every {every}",
            f"write for: {as_written(said.every * LOOKS_IN_WINDOW)} or more",
        )
    if "minSamples" in success and said.every * said.min_samples > said.within:
        complain(
            success.key("minSamples"),
            f"{said.min_samples} samples at every {every} do not fit into within: {within}",
            f"at most {int(said.within / said.every)} do",
        )
    if said.within / said.every > MAX_POINTS:
        complain(success.key("every"), f"{within} every {every} is more than {MAX_POINTS} points")
    if said.regression is not None and said.regression_for > said.within:
        complain(
            regression.key("for"),
            f"regression.for ({as_written(said.regression_for)}) is longer than verify.within ({within})",
        )


def _undo(draft: _Draft, fields: Fields) -> Undo:
    fields.known(("when", "ask"), instead={"on": 'write "when"', "how": 'write "when" or "ask"'})
    automatic = _verdicts(fields, "when", frozenset({UndoWhen.REGRESSION}))
    ask = _verdicts(fields, "ask", frozenset({UndoWhen.FAILURE}) - automatic)
    if both := sorted(automatic & ask):
        fields.document.complain(
            fields.key("ask"), f'"{both[0]}" stands in when and in ask', "keep one of the two"
        )
    risky = next(
        (spec for spec in draft.used if _ORDER.index(spec.risk) >= _ORDER.index(Risk.DISRUPTIVE)), None
    )
    if UndoWhen.FAILURE in automatic and risky is not None:
        # Undoing a rollback that did not help deploys the suspect release again, with another full restart.
        fields.document.complain(
            fields.key("when"),
            f"{risky.name} is {risky.risk}: undoing it on mere failure must be asked",
            "use ask",
        )
    return Undo(automatic, ask)


def _verdicts(fields: Fields, key: str, default: frozenset[UndoWhen]) -> frozenset[UndoWhen]:
    if key not in fields:
        return default
    found = [word(fields.document, node, f"undo.{key}", UndoWhen) for node in fields.items(key)]
    return frozenset(verdict for verdict in found if verdict is not None)
