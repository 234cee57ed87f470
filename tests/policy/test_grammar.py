"""The list of keys behind the editor's schema and the reference page is what the loader reads."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from receiver.packaged import policies, read_files
from receiver.policy import conditions, grammar
from receiver.policy.fields import Fields
from receiver.policy.json_schema import schema
from receiver.policy.loading import load
from receiver.policy.reference import reference
from receiver.policy.vocabulary import Suggested, Vocabulary, facts_of
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

EVERY_KEY = {
    "policy.yaml": """
apiVersion: stanch/v1
kind: Policy
metadata: {name: every-key, owner: me, runbook: "https://runbooks.example.com/x"}
spec:
  mode: propose
  defaults: shared
  match: {alerts: ['alertname="A"'], for: 1m}
  target: {kind: Deployment, namespace: "{{ labels.namespace }}", name: api, namespaces: [shop], names: [api]}
  queries: {err: max(errors)}
  classify:
    every: 15s
    severityLabel: {critical: P1}
    P0: [{expr: err > 0.9, for: 2m, requires: err > 0.0}]
    P1: {expr: err > 0.2, for: 2m}
    P2: {expr: err > 0.05}
    P3: {expr: err > 0.01}
  diagnose:
    deadline: 20s
    rollout: {probe: rollout-history}
    owner: {probe: owners}
    db: {probe: postgres-disk, connection: shop}
    page: {probe: status-page, endpoint: openai}
  security:
    - sign: a miner runs in it
      when: err > 0.9 && rollout.hasEarlier
      scope: workload
      isolate: [{act: pod.quarantine, pod: "{{ labels.pod }}"}, {act: node.isolate, node: node-1}]
  propose:
    - {remediation: deployment.rollback, why: young, when: rollout.hasEarlier, with: {to: known-good}}
    - remediation: deployment.scale
      with: {replicas: 10}
      expires: 2h
      expiresWhen: {expr: err < 0.4, for: 30m, every: 1m}
    - {remediation: deployment.dance, why: nobody has taught it yet, mode: disabled}
  handover:
    - item: Drain the node
      when: owner.everything
      shows: [rollout.current.image, labels.pod]
      next: Cordon it first
      why: pods are lost with it
  guard:
    perTarget: {count: 1, per: 2h}
    perPolicy: {count: 3, per: 1h}
    minAvailable: 75%
    dryRunUnsupported: [webhook.example.com]
    rules: [{cel: err < 1.0, message: too bad}]
  approve:
    read-only: {from: [oncall]}
    reversible: {from: [oncall]}
    disruptive: {from: [oncall], count: 1, notRequester: false, reason: required}
    bounded-loss: {from: [oncall], count: 2, notRequester: true}
    irreversible: {from: [oncall], count: 2, notRequester: true, reason: required}
    expires: 15m
    executeWithin: 5m
  verify:
    baseline: 10m
    settle: 5m
    success: {expr: err < 0.01, for: 5m, every: 15s, minSamples: 16}
    within: 15m
    regression: {expr: err > baseline.err * 1.2, for: 2m}
    onNoData: inconclusive
  monitor: 15m
  undo: {when: [regression], ask: [failure]}
""",
    "approvers.yaml": """
apiVersion: stanch/v1
kind: Approvers
metadata: {name: us}
spec: {oncall: {groups: [oncall], people: 4}}
""",
    "limits.yaml": """
apiVersion: stanch/v1
kind: Limits
metadata: {name: us}
spec:
  clusterBudget: {count: 10, per: 1h}
  storm: {count: 10, per: 10m}
  heartbeats: [Watchdog]
  freezes:
    - {weekly: "Fri 16:00 - Mon 08:00", zone: Europe/Berlin, why: weekend}
    - {from: "2026-12-20 08:00", until: "2027-01-02 08:00", zone: Europe/Berlin, why: holidays}
""",
    "defaults.yaml": """
apiVersion: stanch/v1
kind: Defaults
metadata: {name: shared}
spec: {monitor: 20m}
""",
    "correlation.yaml": """
apiVersion: stanch/v1
kind: Correlation
metadata: {name: us}
spec: {rules: [{alerts: ['app="a"'], by: [namespace, app|job], reopen: 2h}]}
""",
}
NAMES = Vocabulary(catalogue(), FACTS)
# The loader reads these by their author's own names.
CHOSEN = {
    "queries",
    "classify.severityLabel",
    "diagnose",
    "propose.with",
}


def parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)


def complaints(document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema(NAMES)).iter_errors(document)]


def asked_for(files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The keys that the loader asked for, by the mapping they stand in."""
    asked: dict[str, set[str]] = {}
    real = Fields.known

    def known(self: Fields, names: Collection[str], **more: Any) -> Fields:
        kind = "Policy" if self.document.file == "policy.yaml" else self.document.file
        where = re.sub(r"\[\d+\]", "", self.what).removeprefix("spec.")
        asked.setdefault(f"{kind}:{where}", set()).update(names)
        return real(self, names, **more)

    monkeypatch.setattr(Fields, "known", known)
    loaded = load(files, catalogue=catalogue(), probe_facts=FACTS)
    assert [str(complaint) for complaint in loaded.errors] == []
    return asked


def test_the_loader_asks_for_exactly_the_listed_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_for(EVERY_KEY, monkeypatch)
    listed: dict[str, set[str]] = {"Policy:metadata": {key.name for key in grammar.METADATA}}
    for what, keys in grammar.tables(grammar.POLICY, "spec"):
        where = what.removeprefix("spec.")
        if where not in CHOSEN:
            listed[f"Policy:{where}"] = {key.name for key in keys}
    # Which keys a probe has depends on where it looks.
    of_probes = listed.pop("Policy:diagnose.name of the facts")
    listed["Policy:diagnose.db"] = of_probes - {"endpoint"}
    listed["Policy:diagnose.page"] = of_probes - {"connection"}
    listed["Policy:diagnose.rollout"] = {"probe"}
    listed["Policy:diagnose.owner"] = {"probe"}
    assert asked.pop("Policy:the file") == {"apiVersion", "kind", "metadata", "spec"}
    of_policy = {where: names for where, names in asked.items() if where.startswith("Policy:")}
    assert of_policy == listed
    assert asked["limits.yaml:spec"] == {key.name for key in grammar.LIMITS}
    assert asked["defaults.yaml:spec"] == {key.name for key in grammar.DEFAULTS}
    assert asked["correlation.yaml:rules"] == {key.name for key in grammar.CORRELATION[0].keys}
    assert asked["approvers.yaml:oncall"] == {key.name for key in grammar.APPROVERS[0].keys}


def test_a_file_with_every_key_and_the_shipped_files_fit_the_schema() -> None:
    files = {**EVERY_KEY, **read_files(policies())}
    found = {name: complaints(parsed(text)) for name, text in files.items()}
    assert {name: said for name, said in found.items() if said and "PolicyTest" not in files[name]} == {}


def test_every_listed_key_is_in_the_file_with_every_key() -> None:
    def missing(keys: tuple[grammar.Key, ...], value: Any, what: str) -> list[str]:
        values = value if isinstance(value, list) else [value]
        found: list[str] = []
        for key in keys:
            if key.any_name:
                continue
            held = [one[key.name] for one in values if isinstance(one, dict) and key.name in one]
            if not held:
                found.append(f"{what}.{key.name}")
            elif key.keys:
                found += missing(key.keys, held[0], f"{what}.{key.name}")
        return found

    document = parsed(EVERY_KEY["policy.yaml"])
    gone = missing(grammar.POLICY, document["spec"], "spec")
    # Alternatives of one shape stand once.
    assert [
        one for one in gone if not re.fullmatch(r"spec\.(classify\.P\d|approve\.[a-z-]+)\.\w+", one)
    ] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("spec", "gaurd"), {}, id="a misspelt section"),
        pytest.param(("spec", "mode"), "of", id="a mode that is none"),
        pytest.param(("spec", "verify", "succes"), {}, id="a misspelt key below"),
        pytest.param(("spec", "guard", "perTarget", "count"), "one", id="a text for a number"),
        pytest.param(("spec", "monitor"), "15 minutes", id="no duration"),
        pytest.param(("spec", "classify", "P4"), {}, id="a level that is none"),
        pytest.param(("kind",), "Polcy", id="a kind that is none"),
    ],
)
def test_the_schema_finds_what_an_editor_should_underline(path: tuple[str, ...], value: Any) -> None:
    document = parsed(EVERY_KEY["policy.yaml"])
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert complaints(document) != []


def test_the_schema_itself_is_sound() -> None:
    Draft202012Validator.check_schema(json.loads(json.dumps(schema(NAMES))))


def test_the_reference_names_every_key_of_every_kind() -> None:
    page = reference(NAMES)
    for kind, keys in grammar.KINDS.items():
        assert f"## {kind}" in page
        for what, below in grammar.tables(keys, "spec"):
            assert f"### `{what}`" in page
            for key in below:
                assert f"`{key.name}`" in page or f"_{key.name}_" in page


def test_the_schema_suggests_the_names_there_are_and_takes_others() -> None:
    document = parsed(EVERY_KEY["policy.yaml"])
    document["spec"]["propose"][0] |= {"remediation": "plugin.cure", "with": {"depth": 3}}
    document["spec"]["diagnose"]["rollout"]["probe"] = "plugin-probe"
    assert complaints(document) == []
    text = json.dumps(schema(NAMES))
    for name in (*catalogue(), *FACTS):
        assert f'"{name}"' in text
    assert '"properties": {"to": ' in text


def test_the_reference_names_every_probe_remediation_and_function() -> None:
    page = reference(NAMES)
    for name in (*NAMES.names(Suggested.PROBE), *NAMES.names(Suggested.REMEDIATION)):
        assert f"### `{name}`" in page
    for parameter in NAMES.names(Suggested.PARAMETER):
        assert f"| `{parameter}` |" in page
    for facts in FACTS.values():
        for fact in facts_of(facts):
            assert f"| `{fact.path}` | {fact.kind} |" in page
    for name in (*conditions.FUNCTIONS, *conditions.METHODS, *conditions.MACROS):
        assert re.search(rf"`(\w+\.)?{name}\(", page)


# Names that stand in for the examples of the page: what each says must be a condition.
EXAMPLES = {"x": "12", "text": "abc", "list": [2], "a": {"b": 1.0}, "err": 1.0, "rollout": {"paused": True}}


@pytest.mark.parametrize("name", [*conditions.FUNCTIONS, *conditions.METHODS, *conditions.MACROS])
def test_every_function_of_the_reference_can_be_written_as_shown(name: str) -> None:
    for known in (conditions.FUNCTIONS, conditions.METHODS, conditions.MACROS):
        if name in known:
            shown = known[name].split("`")[1]
            found = conditions.check(f"size(string({shown} == {shown})) > 0", EXAMPLES, called="name")
            assert [problem.message for problem in found.problems] == []
