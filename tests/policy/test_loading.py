"""Every kind of complaint, at its exact place: the broken spot stands between ⟦ and ⟧."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ConfigDict

from receiver.domain.plans import Parameters
from receiver.policy.complaints import Severity
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

from .conftest import DATA, Loader

# id in words: (what is replaced in the good policy, by what, and a part of what is said about it)
ERRORS: dict[str, tuple[str, str, str]] = {
    # the outer shape
    "another apiVersion": ("stanch/v1", "⟦stanch/v2⟧", "apiVersion 'stanch/v2' is not known"),
    "a kind of a later release": (
        "kind: Policy",
        "kind: ⟦Schedule⟧",
        "kind Schedule is not yet in this release",
    ),
    "a misspelt kind": ("kind: Policy", "kind: ⟦Polcy⟧", 'kind "Polcy" is not known'),
    "a kind that is missing": ("kind: Policy\n", "", 'field "kind" is missing in the file'),
    "an unknown outer field": ("metadata:", "⟦sepc⟧: {}\nmetadata:", 'unknown field "sepc" in the file'),
    "a name that is none": ("name: bad-release", "name: ⟦Bad Release⟧", "is not a name"),
    "a name that is a number": ("name: bad-release", "name: ⟦7⟧", "metadata.name must be text"),
    "no name": (
        "metadata: {name: bad-release}",
        "⟦metadata⟧: {owner: sre}",
        'field "name" is missing in metadata',
    ),
    "an alert that would choose who is asked": (
        "      with: {to: known-good}",
        "      with: {to: known-good}\n    - remediation: http.warm-up\n      why: pods are cold\n"
        '      with: {endpoint: ⟦"{{ labels.host }}"⟧}',
        "http.warm-up: endpoint",
    ),
    # what is isolated
    "no way to isolate of that name": (
        "  propose:",
        "  security: [{sign: a miner, isolate: [{act: ⟦pod.delete⟧, pod: x}]}]\n  propose:",
        "security[0].isolate[0].act",
    ),
    "addresses of an alert": (
        "  propose:",
        "  security: [{sign: a miner, isolate: [{act: ⟦ip.block⟧}]}]\n  propose:",
        "who writes an alert would choose who is shut out",
    ),
    "nothing to isolate": (
        "  propose:",
        "  security: [{sign: a miner, isolate: [⟦{act: pod.quarantine}]}]\n  propose:",
        "pod.quarantine needs one pod",
    ),
    "a node to cut off": (
        "  propose:",
        "  security: [{sign: a miner, isolate: [⟦{act: pod.quarantine, node: x}]}]\n  propose:",
        "pod.quarantine takes a pod, not a node",
    ),
    "more than a look-up in what is isolated": (
        "  propose:",
        '  security: [{sign: m, isolate: [{act: node.isolate, node: ⟦"{{ labels.a | b }}"⟧}]}]\n  propose:',
        "only label look-ups are allowed here",
    ),
    "a path in what is isolated": (
        "  propose:",
        '  security: [{sign: m, isolate: [{act: node.isolate, node: ⟦"{{ labels.pod }}/x"⟧}]}]\n  propose:',
        "node is no name",
    ),
    "no signs": ("  propose:", "  security: ⟦[]⟧\n  propose:", "security is empty"),
    # candidates
    "a candidate that goes further than its policy": (
        "why: it began",
        "mode: ⟦auto⟧\n      why: it began",
        "a candidate can only be disabled",
    ),
    "a disabled candidate without a reason": (
        "- remediation: deployment.rollback\n      why: it began with the release",
        "- ⟦mode⟧: disabled\n      remediation: deployment.rollback",
        'field "why" is missing in propose[0]',
    ),
    "a probe with the name of a query": (
        "    rollout: {probe: rollout-history}",
        "    ⟦err⟧: {probe: owners}\n    rollout: {probe: rollout-history}",
        'probe "err" has the name of a query',
    ),
    "a condition of a candidate that names neither query nor fact": (
        "when: rollout.hasEarlier",
        "when: ⟦erz > 0.2 && rollout.hasEarlier",
        "is not a query or fact of this policy (queries and facts:",
    ),
    # hand-overs
    "a hand-over without its reason": (
        "  guard:",
        "  handover:\n    - ⟦item⟧: Drain the node\n      next: cordon it\n  guard:",
        'field "why" is missing in handover[0]',
    ),
    "a misspelt key of a hand-over": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, ⟦show⟧: [rollout.paused]}\n  guard:",
        'did you mean "shows"?',
    ),
    "a hand-over beside its section": (
        "  guard:",
        "  ⟦shows⟧: [rollout.paused]\n  guard:",
        "indent it under handover",
    ),
    "a hand-over whose condition names no fact": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, when: ⟦rolout.paused}\n  guard:",
        'did you mean "rollout"?',
    ),
    "a shown fact that the probe does not find": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, shows: [rollout.current.⟦imag]}\n  guard:",
        'did you mean "image"?',
    ),
    "a shown fact of no probe": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, shows: [⟦rolout.current]}\n  guard:",
        'there is no fact "rolout"',
    ),
    "a shown fact below a number": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, shows: [rollout.revisions.⟦first]}\n  guard:",
        '"rollout.revisions" has no "first"',
    ),
    "a shown condition": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c, shows: [⟦rollout.revisions > 1⟧]}\n  guard:",
        "is no path of a fact",
    ),
    "a hand-over that stands twice": (
        "  guard:",
        "  handover:\n    - {item: a, next: b, why: c}\n    - {⟦item⟧: a, next: d, why: e}\n  guard:",
        '"a" stands here twice',
    ),
    "an item that is a story": (
        "  guard:",
        f"  handover:\n    - {{item: ⟦{'x' * 161}⟧, next: b, why: c}}\n  guard:",
        "handover[0].item has 161 characters; 160 are allowed",
    ),
    "an item that says nothing": (
        "  guard:",
        '  handover:\n    - {item: ⟦""⟧, next: b, why: c}\n  guard:',
        "handover[0].item is empty",
    ),
    "a template in a hand-over": (
        "  guard:",
        '  handover:\n    - {item: a, next: ⟦"look at {{ labels.pod }}"⟧, why: c}\n  guard:',
        "name facts under shows",
    ),
    "a checklist that nobody works off": (
        "  guard:",
        "  handover:\n"
        + "".join(f"    - {{item: a{number}, next: b, why: c}}\n" for number in range(20))
        + "    - ⟦{item: last, next: b, why: c}⟧\n  guard:",
        "spec.handover has 21 entries; 20 are allowed",
    ),
    # yaml
    "a key that stands twice": ("  monitor: 15m\n", "  monitor: 15m\n  ⟦monitor⟧: 20m\n", "first on line 46"),
    "a tag": ("why: it began", "why: ⟦!x it began", "YAML tags are not allowed"),
    "an anchor": ("why: it began", "why: ⟦&x it began", "YAML anchors are not allowed"),
    "an alias": ("why: it began with the release", "why: ⟦*x", "YAML aliases are not allowed"),
    "an expression that begins with !": ("when: rollout", "when: ⟦!rollout.paused && rollout", "YAML"),
    "an expression that begins with [": (
        "when: rollout.has",
        "when: ⟦[1, 2][0] > 1 && rollout.has",
        "this is no YAML",
    ),
    "an expression with a colon": ("why: it began", "why: it began⟦: then", "this is no YAML"),
    "a NUL": ("why: it began", "why: it ⟦\0began", "character U+0000 is not allowed"),
    "a tab": ("  monitor: 15m", "⟦\tmonitor: 15m", "this is no YAML"),
    "two documents": ("  monitor: 15m\n", "⟦---\nmonitor: 15m\n", "a file holds one document"),
    "a directive": ("apiVersion", "%YAML 1.1\n⟦---\napiVersion", "YAML directives are not allowed"),
    "a boolean of YAML 1.1": ("why: it began with the release", "why: ⟦on⟧", "read otherwise by YAML 1.1"),
    "an octal of YAML 1.1": ("minSamples: 16", "minSamples: ⟦016⟧", "read otherwise by YAML 1.1"),
    # fields, types, units, words
    "a misspelt section": ("  guard:", "  ⟦gaurd⟧:", 'unknown field "gaurd" in spec'),
    "a section of a later release": ("  monitor:", "  ⟦notify⟧: {}\n  monitor:", "not yet in this release"),
    "correlation inside a policy": ("  monitor:", "  ⟦correlate⟧: {}\n  monitor:", "a kind of its own"),
    "a mode that is a boolean elsewhere": ("mode: propose", 'mode: ⟦"off"⟧', 'write "disabled"'),
    "a misspelt mode": ("mode: propose", "mode: ⟦propse⟧", "spec.mode 'propse' is not known"),
    "no mode": ("  mode: propose\n", "", 'field "mode" is missing in spec'),
    "a field without a value": ("  monitor: 15m", "  ⟦monitor⟧:", 'field "monitor" in spec has no value'),
    "a duration without a unit": ("monitor: 15m", "monitor: ⟦15⟧", "spec.monitor has no unit"),
    "a duration that is none": ("monitor: 15m", "monitor: ⟦soon⟧", "'soon' is no duration"),
    "a list for a mapping": ("metadata: {name: bad-release}", "metadata: ⟦[a]", "metadata must be a mapping"),
    "a share above one": ("minAvailable: 75%", "minAvailable: ⟦75⟧", "must lie between 0% and 100%"),
    "a share that is text": ("minAvailable: 75%", "minAvailable: ⟦most⟧", "must be a share"),
    "a budget of zero": ("count: 1, per: 2h", "count: ⟦0⟧, per: 2h", "it must be 1 to"),
    "a count that is text": ("minSamples: 16", "minSamples: ⟦many⟧", "must be a whole number"),
    "no data as success": ("onNoData: inconclusive", "onNoData: ⟦success⟧", "no data is never a success"),
    "a key beside its section": (
        '    alerts: [alertname="HighErrorRate"]\n    for: 1m\n',
        '  ⟦alerts⟧: [alertname="HighErrorRate"]\n',
        "indent it under match",
    ),
    "a level beside its section": ("    P2: {expr", "  ⟦P2⟧: {expr", "indent it under classify"),
    "one name for a list": ("from: [sre]", "from: ⟦sre⟧", "write [sre]"),
    "no mode, with the words": ("  mode: propose\n", "", "add mode: disabled, shadow, propose or auto"),
    "a quote that is opened and not closed": (
        "why: it began",
        'why: ⟦"it began',
        'this is no YAML: the quote " is not closed',
    ),
    # match and target
    "no matcher": ('[alertname="HighErrorRate"]', "⟦[]", "it would match every alert"),
    "a matcher without operator": ('alertname="HighErrorRate"', "⟦alertname⟧", "is no matcher"),
    "a quote that is not closed": ('[alertname="HighErrorRate"]', "['alertname=⟦\"High']", "is not closed"),
    "a pattern that does not compile": ('[alertname="HighErrorRate"]', "['a=~\"x⟦(\"']", "does not compile"),
    "a pattern that only Python knows": (
        '[alertname="HighErrorRate"]',
        "['a=~\"⟦(?=⟧x)\"']",
        "(RE2) do not know",
    ),
    "a pattern that only RE2 knows": (
        '[alertname="HighErrorRate"]',
        "['a=~\"⟦[[:⟧alpha:]]\"']",
        "read differently",
    ),
    "a pattern of exponential time": (
        '[alertname="HighErrorRate"]',
        "['a=~\"⟦(x+)+⟧\"']",
        "exponential time",
    ),
    "a match of everything": (
        'alerts: [alertname="HighErrorRate"]',
        "⟦alerts⟧: [alertname!=x]",
        "match every alert",
    ),
    "a target of unknown kind": (
        "kind: Deployment",
        "kind: ⟦Deploymnt⟧",
        'target.kind "Deploymnt" is not known',
    ),
    "a templated namespace without a list": ("    namespaces: [shop]\n", "", "must list where it may act"),
    "an empty list of namespaces": ("[shop]", "⟦[]", "target.namespaces is empty"),
    "a wildcard namespace": ("[shop]", '[⟦"*"⟧]', "namespaces take no wildcard"),
    "the cluster's own namespace": ("[shop]", "[⟦kube-system⟧]", "no policy may act there"),
    "a template that is an engine": ("{{ labels.app }}", "⟦{{ labels.app | upper }}⟧", "only label look-ups"),
    "a template of something else": ("{{ labels.app }}", "x-⟦{{ env.HOME }}⟧", "only label look-ups"),
    "a name that cannot be": ('"{{ labels.app }}"', "⟦The_Api⟧", "is not a valid name"),
    # queries and conditions
    "a query name that is an operator": (
        "    traffic:",
        "    ⟦or⟧: vector(1)\n    traffic:",
        "a word of the condition",
    ),
    "a query name with a dash": ("    traffic:", "    ⟦a-b⟧: vector(1)\n    traffic:", "cannot be named"),
    "a PromQL function that is misspelt": ("histogram_quantile(", "⟦histgram_quantile⟧(", "unknown function"),
    "a PromQL bracket left open": (
        "traffic: sum(rate(requests_total[5m]))",
        "traffic: sum⟦(rate(x[5m])",
        "not closed",
    ),
    "a PromQL bracket too many": ("traffic: sum(", "traffic: ⟦)⟧ + sum(", "closes nothing"),
    "a PromQL range that is missing": (
        "traffic: sum(rate(requests_total[5m]))",
        "traffic: ⟦rate⟧(x)",
        "expected type",
    ),
    "a PromQL query that gives a range": (
        "traffic: sum(rate(requests_total[5m]))",
        "traffic: ⟦x[5m]",
        "gives a range",
    ),
    "an empty query": ("traffic: sum(rate(requests_total[5m]))", 'traffic: ⟦" "', "the query is empty"),
    "and for &&": ("hasEarlier && roll", "hasEarlier ⟦and⟧ roll", "is no operator"),
    "not for !": ("when: rollout.hasEarlier", "when: ⟦not⟧ rollout.hasEarlier", "is no operator"),
    "20% for 0.20": ("err > 0.20 ||", "err > 20% ⟦||", "write 0.2 for 20%"),
    "2.5% for 0.025": ("err < 0.01,", "err < 2.5%⟦,", "write 0.025 for 2.5%"),
    "= for ==": ("err < 0.01", "err ⟦=⟧ 0.01", "is no operator"),
    "a condition that ends too early": ("err < 0.01,", "err <⟦,", "ends too early"),
    "a condition with something extra": (
        "{expr: err < 0.01,",
        "{expr: err < 0.01 ⟦0.2,",
        "is not expected here",
    ),
    "an unknown query": ("P2: {expr: err", "P2: {expr: ⟦eror⟧", '"eror" is not a query of this policy'),
    "an unknown fact": (
        "when: rollout.",
        "when: ⟦rolout⟧.",
        '"rolout" is not a query or fact of this policy',
    ),
    "an unknown field of a fact": (
        "rollout.hasEarlier",
        "rollout.⟦hasErlier⟧",
        '"rollout" has no "hasErlier"',
    ),
    "an unknown field below": ("current.ageSeconds", "current.⟦age⟧", '"rollout.current" has no "age"'),
    "a baseline outside verify": (
        "P2: {expr: err >=",
        "P2: {expr: err > ⟦baseline⟧.err || err >=",
        "in verify only",
    ),
    "a baseline of nothing": ("baseline.err * 1.2", "baseline.⟦er⟧ * 1.2", '"baseline" has no "er"'),
    "text for a number": ("ageSeconds < 7200.0", 'ageSeconds < ⟦"7200"⟧', "a number is compared with text"),
    "a whole number times a decimal": ("baseline.err * 1.2", "baseline.err * ⟦2⟧", "does not mix"),
    "a number for a condition": (
        "P2: {expr: err >= 0.05",
        "P2: {expr: ⟦err⟧",
        "gives a number, not true or false",
    ),
    "a number beside &&": (
        "hasEarlier && rollout.current.ageSeconds",
        "hasEarlier && ⟦rollout.revisions⟧ || 1",
        "&& needs",
    ),
    "a macro that is not allowed": (
        "when: rollout.has",
        "when: size([1].⟦map⟧(x, x)) > 1 && rollout.has",
        "map is not",
    ),
    "a macro in a macro": (
        "when: rollout",
        "when: 'rollout.paused || [1].all(x, [2].⟦all⟧(y, y > x)) || rollout.paused'\n      #",
        "inside another macro",
    ),
    "an unknown function": ("traffic > 1.0", "⟦max⟧(traffic) > 1.0", 'no function "max"'),
    "an unknown method": (
        "when: rollout.has",
        'when: labels.app.⟦startWith⟧("x") && rollout.has',
        'no function "startWith"',
    ),
    "a fact of the guards that is none": (
        "cel: traffic",
        "cel: ⟦rollout⟧.revisions > 1 && traffic",
        "is not a fact",
    ),
    "an empty condition": ("expr: err < 0.01", 'expr: ⟦""', "the expression is empty"),
    "a condition that is too long": (
        "expr: err < 0.01",
        f'expr: ⟦"{"err > 1.0 || " * 50}true"',
        "512 are allowed",
    ),
    "a comma inside braces": ("{expr: err < 0.01,", "{expr: size(⟦[1, 2]) > 1,", "YAML"),
    # classify
    "an unknown level": (
        "    P2:",
        "    ⟦P4⟧: {expr: err > 1.0}\n    P2:",
        'unknown field "P4" in spec.classify',
    ),
    "requires for all levels": ("    P2:", "    ⟦requires⟧: traffic > 1.0\n    P2:", "each rule has its own"),
    "a label that makes a P0": ("{critical: P1}", "{critical: ⟦P0⟧}", "a label alone never makes a P0"),
    "a severity that is none": ("{critical: P1}", "{critical: ⟦high⟧}", "'high' is not known"),
    "levels in the wrong order": ("P1: {expr: err > 0.20", "P1: {expr: ⟦err⟧ > 0.02", "a worse level"),
    "too many points": (
        "P2: {expr: err >= 0.05, for: 5m",
        "P2: {expr: err >= 0.05, ⟦for⟧: 9d",
        "more than 2000 points",
    ),
    # diagnose and propose
    "an unknown probe": ("probe: rollout-history", "probe: ⟦rollout-histroy⟧", "there is no probe"),
    "a probe of a database without one": (
        "rollout: {probe: rollout-history}",
        "⟦rollout⟧: {probe: postgres-disk}",
        'field "connection" is missing',
    ),
    "a probe of an endpoint without one": (
        "rollout: {probe: rollout-history}",
        "⟦rollout⟧: {probe: status-page}",
        'field "endpoint" is missing',
    ),
    "an endpoint by its address": (
        "rollout: {probe: rollout-history}",
        'rollout: {probe: health, endpoint: ⟦"https://evil.example"⟧}',
        "endpoint is a name in the service's file: small letters, digits and - only",
    ),
    "an endpoint from a label": (
        "rollout: {probe: rollout-history}",
        'rollout: {probe: health, endpoint: ⟦"{{ labels.host }}"⟧}',
        "endpoint is a name in the service's file",
    ),
    "a connection that no file could name": (
        "rollout: {probe: rollout-history}",
        "rollout: {probe: postgres-disk, connection: ⟦Shop_DB⟧}",
        "connection is a name in the service's file",
    ),
    "a probe of the target with a database": (
        "{probe: rollout-history}",
        "{probe: rollout-history, ⟦connection⟧: shop}",
        'unknown field "connection"',
    ),
    "a probe with a setting": (
        "{probe: rollout-history}",
        "{probe: rollout-history, ⟦lookback⟧: 2h}",
        "unknown field",
    ),
    "an unknown remediation": ("deployment.rollback", "⟦deployment.rolback⟧", "there is no remediation"),
    "an action": (
        "- remediation: deployment.rollback",
        "- ⟦action⟧: deployment.rollback",
        'write "remediation"',
    ),
    "an unknown parameter": ("{to: known-good}", "{⟦too⟧: known-good}", 'has no parameter "too"'),
    "a value the parameter does not take": ("{to: known-good}", "{to: ⟦previous⟧}", "takes no other value"),
    "a template in a reason": ("why: it began", "why: ⟦it {{ began }}", "templates in why"),
    "auto for a disruptive cure": ("mode: propose", "mode: ⟦auto⟧", "mode: auto is not allowed"),
    "a condition to end without a time": (
        "why: it began",
        "⟦expiresWhen⟧: {expr: err < 0.01}\n      why: it began",
        "what it waits for may never come",
    ),
    "an end that no query tells of": (
        "why: it began",
        "expires: 24h\n      expiresWhen: {expr: ⟦helth⟧ > 0.99}\n      why: it began",
        '"helth" is not a query',
    ),
    "an end that is looked at too seldom": (
        "why: it began",
        "expires: 24h\n      ⟦expiresWhen⟧: {expr: err < 0.01, for: 2m, every: 1m}\n      why: it began",
        "2m has fewer than 4 looks",
    ),
    # approve
    "an unknown approver": ("from: [sre]", "from: [⟦sre-leed⟧]", '"sre-leed" is not in any Approvers file'),
    "nobody who may approve": ("from: [sre]", "from: ⟦[]", "nobody could approve"),
    "more people than there are": ("count: 1}\n    expires", "⟦count⟧: 4}\n    expires", "needs 4 people"),
    "a rule that is loosened": (
        "disruptive: {from: [sre], count: 1}",
        "irreversible: {from: [sre], ⟦count⟧: 1}",
        "a policy may only tighten",
    ),
    "an unknown risk": ("    disruptive:", "    ⟦disruptiv⟧:", 'unknown field "disruptiv" in spec.approve'),
    "a reason that is not required": (
        "count: 1}\n    expires",
        "reason: ⟦maybe⟧}\n    expires",
        "is not known",
    ),
    # verify and undo
    "less time than the window": ("within: 15m", "⟦within⟧: 4m", "it could never succeed"),
    "too few looks": (
        "{expr: err < 0.01, for: 5m, every: 15s",
        "{expr: err < 0.01, ⟦for⟧: 30s, every: 15s",
        "has fewer",
    ),
    "more samples than fit": ("minSamples: 16", "⟦minSamples⟧: 61", "do not fit into within"),
    "within in the wrong place": ("minSamples: 16}", "minSamples: 16, ⟦within⟧: 15m}", "beside success"),
    "a regression longer than the time": (
        "baseline.err * 1.2, for: 2m",
        "baseline.err * 1.2, ⟦for⟧: 16m",
        "is longer",
    ),
    "undo on": ("undo: {when: [regression]", 'undo: {⟦"on"⟧: [regression]', 'write "when"'),
    "undo without asking": ("{when: [regression], ask: [failure]}", "{⟦when⟧: [failure]}", "must be asked"),
    "a verdict in both lists": ("ask: [failure]", "⟦ask⟧: [regression]", "stands in when and in ask"),
    "an unknown verdict": ("ask: [failure]", "ask: [⟦falure⟧]", "'falure' is not known"),
}

WARNINGS: dict[str, tuple[str, str, str]] = {
    "a percentage for a ratio": ("err < 0.01,", "⟦err⟧ < 5,", "a ratio between 0 and 1"),
    "a gap between two bands": (
        "err > 0.20 || p95 > 5, for: 2m}\n    P2: {expr: err >= 0.05",
        "⟦err⟧ > 0.20 || p95 > 5, for: 2m}\n    P2: {expr: err >= 0.05 && err < 0.20",
        "err = 0.2 reaches no level",
    ),
    "several series": (
        "traffic: sum(rate(requests_total[5m]))",
        "traffic: ⟦rate(requests_total[5m])",
        "several series",
    ),
    "a quantile for each pod": (
        "sum by (le) (rate(latency_bucket[5m]))",
        "rate(latency_bucket[5m])",
        "one quantile per",
    ),
    "a success that needs the baseline": (
        "err < 0.01,",
        "err < baseline.err,",
        "cannot tell whether an earlier",
    ),
    "alerts of any namespace for a target in one": (
        'namespace: "{{ labels.namespace }}"',
        "⟦namespace⟧: shop",
        "an alert of any namespace would change this target in shop",
    ),
    "a namespace that is only not another": (
        '"HighErrorRate"]\n    for: 1m\n  target:\n'
        '    kind: Deployment\n    namespace: "{{ labels.namespace }}"',
        '"HighErrorRate", namespace!=dev]\n  target:\n    kind: Deployment\n    ⟦namespace⟧: shop',
        "an alert of any namespace",
    ),
    "a success that holds while it is ill": (
        "success: {expr: err < 0.01,",
        "success: {expr: ⟦err⟧ > 0.01,",
        "success holds wherever P0 does: both point the same way",
    ),
    "a success of one of two that holds while it is ill": (
        "success: {expr: err < 0.01,",
        "success: {expr: err < 0.01 || ⟦p95⟧ > 1,",
        "success holds wherever P1 does",
    ),
    "a ratio below one as success": (
        "success: {expr: err < 0.01,",
        "success: {expr: p95 < 1 && ⟦err⟧ < 1,",
        "err is a ratio between 0 and 1: < 1 is nearly always so",
    ),
    "a ratio above one as regression": ("err > baseline.err * 1.2", "⟦err⟧ > 1", "> 1 is never so"),
    "less than before as regression": (
        "err > baseline.err * 1.2",
        "⟦err⟧ > baseline.err * 0.2",
        "err > 0.2 times its baseline holds where it got better too",
    ),
    "less than before the other way round": (
        "err > baseline.err * 1.2",
        "0.5 * baseline.err <= ⟦err⟧ || p95 > 9",
        "err >= 0.5 times its baseline",
    ),
    "more than before where less is worse": (
        "err > baseline.err * 1.2",
        "⟦traffic⟧ < baseline.traffic * 1.2",
        "traffic < 1.2 times its baseline",
    ),
    "anchors in a pattern": ('[alertname="HighErrorRate"]', "['a=~\"⟦^x$⟧\"']", "anchored already"),
    "a field that the API leaves out": (
        "traffic > 1.0",
        "target.metadata.x > 1 || ⟦target.spec.paused⟧",
        "left out by the API server",
    ),
}


def broken(good: str, old: str, new: str) -> tuple[str, int, int] | tuple[str, None, None]:
    """The text without marks, and line and column of the first mark."""
    assert good.count(old) == 1, f"{old!r} stands {good.count(old)} times in the good policy"
    text = good.replace(old, new)
    at = text.find("⟦")
    clean = text.replace("⟦", "").replace("⟧", "")
    if at < 0:
        return clean, None, None
    return clean, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


@pytest.mark.parametrize(("old", "new", "said"), ERRORS.values(), ids=ERRORS.keys())
def test_a_mistake_is_named_where_it_stands(good: str, loader: Loader, old: str, new: str, said: str) -> None:
    text, line, column = broken(good, old, new)
    loaded = loader(text)
    assert loaded.policies is None
    found = [c for c in loaded.errors if said in c.message or said in c.hint]
    assert found, [str(complaint) for complaint in loaded.complaints]
    if line is not None:
        assert (line, column) in [(c.line, c.column) for c in found], [str(c) for c in found]


@pytest.mark.parametrize(("old", "new", "said"), WARNINGS.values(), ids=WARNINGS.keys())
def test_a_doubt_is_said_and_the_policy_loads(
    good: str, loader: Loader, old: str, new: str, said: str
) -> None:
    text, line, column = broken(good, old, new)
    loaded = loader(text)
    found = [c for c in loaded.complaints if said in c.message]
    assert loaded.policies is not None, [str(c) for c in loaded.errors]
    assert [c.severity for c in found] == [Severity.WARNING]
    if line is not None:
        assert (found[0].line, found[0].column) == (line, column), str(found[0])


def test_the_good_policy_loads_without_a_complaint(good: str, loader: Loader) -> None:
    loaded = loader(good)
    assert loaded.complaints == ()
    assert loaded.policies is not None
    assert [policy.name for policy in loaded.policies.policies] == ["bad-release"]


@pytest.mark.parametrize("matcher", ["namespace=shop", "'namespace=~\"shop|\"'"])
def test_a_matcher_may_hold_the_alerts_to_the_targets_namespace(
    good: str, loader: Loader, matcher: str
) -> None:
    text = good.replace('"{{ labels.namespace }}"', "shop").replace(
        '"HighErrorRate"', f'"HighErrorRate", {matcher}'
    )
    assert loader(text).complaints == ()


# What looks like one of the doubts above and is none.
NO_DOUBTS = {
    "a bound below the mildest level": ("err < 0.01,", "err < 0.04,"),
    "a bound between two levels": ("err < 0.01,", "err < 0.10,"),
    "an upper bound beside others": ("err < 0.01,", "err < 0.01 && traffic > 0.2,"),
    "a band": ("err < 0.01,", "p95 > 0.01 && p95 < 0.5,"),
    "everything available": ("err < 0.01,", "err < 0.01 && up >= 1,"),
    "a load that no level takes for a share": ("err < 0.01,", "load < 1,"),
    "as much as before": ("err > baseline.err * 1.2", "err > baseline.err"),
    "less traffic than before": ("err > baseline.err * 1.2", "traffic < baseline.traffic * 0.5"),
    "half of before beside something else": (
        "err > baseline.err * 1.2",
        "err > baseline.err * 0.5 && p95 > baseline.p95 * 2.0",
    ),
    "another's baseline": ("err > baseline.err * 1.2", "p95 > baseline.err * 0.5"),
}


@pytest.mark.parametrize(("old", "new"), NO_DOUBTS.values(), ids=NO_DOUBTS.keys())
def test_no_doubt_is_raised_about_what_may_be_meant(good: str, loader: Loader, old: str, new: str) -> None:
    more = "    up: sum(ready) / sum(wanted)\n    load: sum(load) / count(cpus)\n    traffic:"
    text = good.replace("    traffic:", more).replace(old, new)
    assert [str(one) for one in loader(text).complaints] == []


def test_all_mistakes_of_all_files_come_at_once(loader: Loader) -> None:
    text = (DATA / "many-mistakes.yaml").read_text()
    loaded = loader(**{"many-mistakes": text, "other": "apiVersion: stanch/v1\nkind: Nothing\n"})
    rendered = "\n".join(str(complaint) for complaint in loaded.complaints) + "\n"
    assert rendered == (DATA / "many-mistakes.txt").read_text()


def test_a_complaint_has_a_form_for_machines(good: str, loader: Loader) -> None:
    complaint = loader(good.replace("  guard:", "  gaurd:")).complaints[0]
    assert complaint.as_json() == {
        "file": "policy.yaml",
        "line": 32,
        "column": 3,
        "severity": "error",
        "message": 'unknown field "gaurd" in spec',
        "hint": 'did you mean "guard"?',
        "excerpt": "  gaurd:",
        "length": 5,
    }


def test_a_remedy_is_named_where_yaml_breaks_an_expression(good: str, loader: Loader) -> None:
    for broken_by in ("!rollout.paused || true", "*x > 1", "[1][0] > 1", "'a' == 'b' && true", "a: b"):
        loaded = loader(good.replace("when: rollout.hasEarlier &&", f"when: {broken_by} &&"))
        assert any("quote it, or use block style" in c.hint for c in loaded.errors), broken_by


def test_a_place_inside_a_folded_expression_is_found(good: str, loader: Loader) -> None:
    folded = good.replace(
        "when: rollout.hasEarlier && rollout.current.ageSeconds < 7200.0",
        "when: >-\n        rollout.hasEarlier\n        && rollout.current.age < 7200.0",
    )
    (complaint,) = loader(folded).errors
    assert (complaint.line, complaint.column) == (32, 28)
    assert complaint.excerpt[27:30] == "age"


def test_a_file_that_is_too_large_is_refused_unread(loader: Loader) -> None:
    (complaint,) = loader("a: b\n" * 60_000).errors
    assert "262144 are allowed" in complaint.message


def test_two_policies_of_one_name_are_refused(good: str, loader: Loader) -> None:
    loaded = loader(good, again=good.replace("HighErrorRate", "Other"))
    assert [(c.file, c.line, c.column) for c in loaded.errors] == [("policy.yaml", 3, 18)]
    assert "is in again.yaml too" in loaded.errors[0].message


def test_two_policies_for_the_same_alerts_are_a_warning(good: str, loader: Loader) -> None:
    loaded = loader(good, again=good.replace("bad-release", "other"))
    assert [(c.severity, c.file) for c in loaded.complaints] == [(Severity.WARNING, "policy.yaml")]
    assert loaded.policies is not None


def test_two_limits_files_are_refused(loader: Loader) -> None:
    limits = "apiVersion: stanch/v1\nkind: Limits\nspec: {clusterBudget: {count: 3, per: 1h}}\n"
    (complaint,) = loader(one=limits, two=limits).errors
    assert (complaint.file, complaint.line) == ("two.yaml", 3)


def test_an_approver_in_two_files_is_refused(loader: Loader) -> None:
    again = "apiVersion: stanch/v1\nkind: Approvers\nspec:\n  sre: {groups: [sre]}\n"
    (complaint,) = loader(more=again).errors
    assert (complaint.file, complaint.line, complaint.column) == ("more.yaml", 4, 3)


def test_single_users_are_not_yet_approvers(loader: Loader) -> None:
    text = "apiVersion: stanch/v1\nkind: Approvers\nspec:\n  dba: {users: [ann], groups: [dba]}\n"
    (complaint,) = loader(more=text).errors
    assert "not yet in this release" in complaint.message


def test_default_rules_need_their_approvers_too(good: str, loader: Loader) -> None:
    text = good.replace("    disruptive: {from: [sre], count: 1}\n", "")
    few = "apiVersion: stanch/v1\nkind: Approvers\nspec:\n  sre: {groups: [sre]}\n"
    (complaint,) = loader(text, approvers=few).errors
    assert complaint.message == (
        "approve.disruptive is missing, so oncall and sre are asked by default, "
        'and "oncall" is not in any Approvers file'
    )
    assert complaint.hint == "add approve: {disruptive: {from: [sre]}}"


def test_where_nobody_is_named_and_nobody_known_both_are_to_be_added(good: str, loader: Loader) -> None:
    text = re.sub(r"  approve:\n(?:    .*\n)+", "", good)
    (complaint,) = loader(text, approvers="apiVersion: stanch/v1\nkind: Approvers\nspec: {}\n").errors
    assert (complaint.line, complaint.message.count("not in any")) == (4, 1)
    assert complaint.hint == ("add approve: {disruptive: {from: [...]}}, and a file of kind Approvers")


def test_a_section_that_is_misspelt_hides_no_mistake_of_another(good: str, loader: Loader) -> None:
    for section in (
        "match",
        "target",
        "queries",
        "classify",
        "diagnose",
        "propose",
        "guard",
        "verify",
        "undo",
    ):
        text = good.replace(f"  {section}:", f"  {section}x:").replace("from: [sre]", "from: [nobody]")
        said = [one.message for one in loader(text.replace("monitor: 15m", "monitor: 15")).errors]
        assert '"nobody" is not in any Approvers file' in said, section
        assert "spec.monitor has no unit" in said, section


def test_the_model_carries_the_groups_behind_the_names(good: str, loader: Loader) -> None:
    policies = loader(good).policies
    assert policies is not None
    rules = policies.policies[0].approve
    assert {risk.value: rule.groups for risk, rule in rules.items()}["disruptive"] == ("sre", "platform-sre")


def test_approvers_are_asked_in_the_order_of_the_file(good: str, loader: Loader) -> None:
    policies = loader(good.replace("from: [sre]", "from: [sre, oncall]")).policies
    assert policies is not None
    rules = policies.policies[0].approve
    assert {risk.value: rule.in_turn for risk, rule in rules.items()}["disruptive"] == (
        ("sre", "platform-sre"),
        ("oncall",),
    )


def test_verification_takes_only_the_queries_it_uses(good: str, loader: Loader) -> None:
    policies = loader(good.replace("baseline.err * 1.2", "0.5 && p95 > baseline.traffic")).policies
    assert policies is not None
    assert set(policies.policies[0].verification.queries) == {"err", "p95", "traffic"}


def test_a_level_takes_a_list_of_rules(good: str, loader: Loader) -> None:
    text = good.replace(
        "P2: {expr: err >= 0.05, for: 5m}",
        "P2:\n      - {expr: err >= 0.05, for: 5m}\n      - {expr: p95 > 1.0}",
    )
    policies = loader(text).policies
    assert policies is not None
    assert [[rule.expr for rule in rules] for rules in policies.policies[0].classify.levels.values()][-1] == [
        "err >= 0.05",
        "p95 > 1.0",
    ]


def test_the_hash_ignores_comments_and_other_files(good: str, loader: Loader) -> None:
    commented = re.sub(r"^(spec:)", r"# why not\n\1   # here", good, flags=re.MULTILINE)
    other = good.replace("bad-release", "other").replace("HighErrorRate", "Other")
    hashes = set()
    for loaded in (loader(good), loader(commented), loader(good, other=other)):
        assert loaded.policies is not None
        policy = loaded.policies.named("bad-release")
        assert policy is not None
        hashes.add(policy.hash)
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("policy", "err > 0.20", "err > 0.21"),
        ("policy", "per: 2h", "per: 3h"),
        ("policy", "expires: 15m", "expires: 16m"),
        ("approvers", "platform-sre", "other-sre"),
        ("limits", "count: 3", "count: 4"),
    ],
    ids=["a threshold", "a guard", "an expiry", "the groups behind an approver", "the cluster's budget"],
)
def test_the_hash_follows(good: str, loader: Loader, file: str, old: str, new: str) -> None:
    texts = {
        "policy": good,
        "approvers": (DATA / "approvers.yaml").read_text(),
        "limits": "apiVersion: stanch/v1\nkind: Limits\nspec: {clusterBudget: {count: 3, per: 1h}}\n",
    }
    before = loader(**texts).policies
    after = loader(**{**texts, file: texts[file].replace(old, new)}).policies
    assert before is not None and after is not None
    assert before.policies[0].hash != after.policies[0].hash
    assert before.hash != after.hash


@pytest.mark.parametrize(
    ("key", "value"),
    [("password", "hunter2"), ("note", "ghp_0123456789abcdefghij0123"), ("note", "AKIAIOSFODNN7EXAMPLE")],
    ids=["by its name", "a token", "a key"],
)
def test_a_secret_written_into_a_parameter_is_a_warning(good: str, key: str, value: str) -> None:
    class Taking(Parameters):
        model_config = ConfigDict(extra="allow")

    spec = replace(catalogue()["deployment.rollback"], parameters=Taking)
    texts = {
        "policy.yaml": good.replace("to: known-good", f"{key}: {value}"),
        "approvers.yaml": (DATA / "approvers.yaml").read_text(),
    }
    loaded = load(texts, catalogue={spec.name: spec}, probe_facts=FACTS)
    assert [complaint.message for complaint in loaded.complaints] == ["this looks like a secret"]
    assert loaded.policies is not None


@pytest.mark.parametrize(
    ("when", "warned"),
    [
        ("page.level >= 2", True),
        ('page.level >= 2 && labels.team == "a"', True),
        ("page.level >= 2 && err > 0.2", False),
        ("rollout.hasEarlier", False),
    ],
)
def test_a_status_page_that_decides_alone_is_a_warning(
    good: str, loader: Loader, when: str, warned: bool
) -> None:
    probes = "rollout: {probe: rollout-history}"
    text = good.replace(probes, f"{probes}\n    page: {{probe: status-page, endpoint: openai}}")
    start = text.index("      when:")
    changed = f"{text[:start]}      when: {when}\n{text[text.index(chr(10), start) + 1 :]}"
    loaded = loader(changed)
    assert loaded.policies is not None
    messages = [complaint.message for complaint in loaded.complaints]
    assert messages == (["only a status page would decide here: page"] if warned else [])


def test_a_remediation_for_another_kind_is_refused(good: str) -> None:
    spec = replace(catalogue()["deployment.rollback"], target_kinds=frozenset({"StatefulSet"}))
    texts = {"policy.yaml": good, "approvers.yaml": (DATA / "approvers.yaml").read_text()}
    (complaint,) = load(texts, catalogue={spec.name: spec}, probe_facts=FACTS).errors
    assert complaint.message == "deployment.rollback acts on StatefulSet, not on Deployment"


def test_a_probe_of_a_workload_is_refused_for_a_claim(good: str) -> None:
    spec = replace(catalogue()["deployment.rollback"], target_kinds=frozenset({"PersistentVolumeClaim"}))
    texts = {
        "policy.yaml": good.replace("kind: Deployment", "kind: PersistentVolumeClaim"),
        "approvers.yaml": (DATA / "approvers.yaml").read_text(),
    }
    (complaint,) = load(texts, catalogue={spec.name: spec}, probe_facts=FACTS).errors
    assert complaint.message == "rollout-history looks at a Deployment, not at a PersistentVolumeClaim"


def test_a_correlation_names_its_labels(loader: Loader) -> None:
    text = (
        "apiVersion: stanch/v1\nkind: Correlation\nspec:\n  rules:\n"
        '    - {alerts: [team="api"], by: [cluster, app|service], reopen: 30m}\n'
    )
    policies = loader(rules=text).policies
    assert policies is not None
    (rule,) = policies.correlation
    assert (rule.by, rule.reopen) == ((("cluster",), ("app", "service")), timedelta(minutes=30))


def test_loading_needs_no_drivers() -> None:
    """What decides stays pure: no module of the loader names the network, a store or the plugins."""
    folder = Path(__file__).resolve().parents[2] / "receiver" / "policy"
    for module in folder.glob("*.py"):
        text = module.read_text()
        assert not re.search(
            r"^\s*(import|from) (aiohttp|asyncio|sqlalchemy|remediations|receiver\.probes)", text, re.M
        )
