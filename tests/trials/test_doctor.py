"""What a look at an installation is judged to be, thing by thing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from receiver.app import read_policies
from receiver.clients.alertmanager import InForce
from receiver.clients.prometheus import RuleLabels
from receiver.domain.plans import Permission
from receiver.policy.rbac import EXECUTOR, ISOLATOR, READER, Grant
from receiver.store.looking import Looked, Sessions
from receiver.trials.doctor import alertmanagers, clocks, files, rights, rules, stores
from receiver.trials.doctor.alertmanagers import Peer, Wanted
from receiver.trials.doctor.clocks import Clock
from receiver.trials.doctor.findings import Area, Finding, Verdict, all_well
from receiver.trials.doctor.rights import Accounts, Who

OK, WARNING, WRONG, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.WRONG, Verdict.CANNOT_TELL
NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)
HOOK: dict[str, Any] = {
    "url": "https://stanch.example.com/api/v1/alerts",
    "http_config": {"authorization": {"type": "Bearer", "credentials_file": "/token"}},
}
GOOD: dict[str, Any] = {
    "route": {
        "receiver": "people",
        "routes": [
            {"receiver": "stanch", "continue": True, "group_wait": "10s", "group_interval": "1m"},
            {"receiver": "pager", "matchers": ['severity="page"']},
        ],
    },
    "receivers": [{"name": "people"}, {"name": "stanch", "webhook_configs": [HOOK]}, {"name": "pager"}],
}
TOKENS = Wanted("stanch", by_token=True, by_password=False)


def yaml(document: dict[str, Any]) -> str:
    stream = StringIO()
    YAML(typ="safe").dump(document, stream)
    return stream.getvalue()


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    change(document)
    return document


def judged(document: dict[str, Any], wanted: Wanted = TOKENS) -> list[Finding]:
    return alertmanagers.judge((Peer("http://am:9093", InForce(yaml(document), 1)),), wanted)


def verdicts(found: list[Finding]) -> list[Verdict]:
    return [one.verdict for one in found]


def hook(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["receivers"][1]["webhook_configs"][0]
    return found


def ours(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["route"]["routes"][0]
    return found


def test_the_route_and_the_receiver_of_the_quickstart_are_well() -> None:
    assert verdicts(judged(GOOD)) == [OK]


ALERTMANAGER = {
    "the receiver is not there": (lambda d: d["receivers"].pop(1), WRONG, "no receiver"),
    "it has no webhook": (lambda d: d["receivers"][1].pop("webhook_configs"), WRONG, "no webhook"),
    "resolves are not sent": (lambda d: hook(d).update(send_resolved=False), WRONG, "send_resolved"),
    "some are left out": (lambda d: hook(d).update(max_alerts=2), WRONG, "max_alerts"),
    "the body is another": (lambda d: hook(d).update(payload={"a": 1}), WRONG, "payload"),
    "the address is another": (lambda d: hook(d).update(url="https://x/alerts"), WRONG, "/api/v1/alerts"),
    "the address is a secret": (lambda d: hook(d).update(url="<secret>"), UNKNOWN, "not shown"),
    "the address is in a file": (lambda d: hook(d).pop("url"), UNKNOWN, "not shown"),
    "no credentials": (lambda d: hook(d).pop("http_config"), WRONG, "no credentials"),
    "credentials of another kind": (
        lambda d: hook(d).update(http_config={"basic_auth": {"username": "a"}}),
        WRONG,
        "another kind",
    ),
    "its own http_config hides the global one": (
        lambda d: (hook(d).update(http_config={}), d.update({"global": HOOK})),
        WRONG,
        "no credentials",
    ),
    "whoever gives out tokens is asked": (
        lambda d: hook(d).update(http_config={"oauth2": {}}),
        UNKNOWN,
        "oauth2",
    ),
    "two webhooks": (
        lambda d: d["receivers"][1]["webhook_configs"].append({"url": "http://b/"}),
        WARNING,
        "2 webhooks",
    ),
    "no route": (lambda d: d["route"]["routes"].pop(0), WRONG, "no route"),
    "a route before it takes everything": (
        lambda d: d["route"]["routes"].insert(0, {"receiver": "people"}),
        WRONG,
        "takes everything",
    ),
    "a route before it keeps some": (
        lambda d: d["route"]["routes"].insert(0, {"receiver": "people", "match": {"a": "b"}}),
        WARNING,
        "1 route(s) before",
    ),
    "others are told nothing": (lambda d: ours(d).pop("continue"), WARNING, "keeps its alerts"),
    "it is silent at night": (
        lambda d: ours(d).update(mute_time_intervals=["night"]),
        WARNING,
        "silent at times",
    ),
    "it waits for long": (lambda d: ours(d).update(group_wait="1h"), WARNING, "group_wait: 1h"),
    "it inherits a long wait": (
        lambda d: (ours(d).pop("group_interval"), d["route"].update(group_interval="30m")),
        WARNING,
        "group_interval: 30m",
    ),
    "resolves are dropped": (lambda d: ours(d).update(repeat_interval="10s"), WRONG, "resolves are dropped"),
    "it repeats after a week": (lambda d: ours(d).update(repeat_interval="1w"), WARNING, "forgotten"),
}


@pytest.mark.parametrize(("change", "verdict", "words"), ALERTMANAGER.values(), ids=ALERTMANAGER.keys())
def test_what_loses_alerts_at_alertmanager_is_found_and_nothing_else(
    change: Callable[[dict[str, Any]], object], verdict: Verdict, words: str
) -> None:
    (found,) = judged(changed(change))
    assert (found.verdict, words in found.sentence, bool(found.fix)) == (verdict, True, True)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: hook(d).update(url="https://gate.example.com/stanch/api/v1/alerts"),
        lambda d: (hook(d).pop("http_config"), d.update({"global": {"http_config": HOOK["http_config"]}})),
        lambda d: hook(d).update(http_config={"bearer_token_file": "/t"}),
        lambda d: d.update(route={"receiver": "stanch"}),
        lambda d: d["route"]["routes"].insert(
            0, {"receiver": "stanch", "match": {"a": "b"}, "continue": True}
        ),
        lambda d: d["route"]["routes"].insert(0, {"receiver": "people", "continue": True}),
    ],
    ids=["a prefix", "global", "older form", "the root", "two routes", "another first, going on"],
)
def test_other_ways_to_the_same_are_well(change: Callable[[dict[str, Any]], object]) -> None:
    assert verdicts(judged(changed(change))) == [OK]


def test_the_root_has_what_no_child_took() -> None:
    root = {"receiver": "stanch", "routes": [{"receiver": "pager", "matchers": ["a=b"]}]}
    (found,) = judged({**GOOD, "route": root})
    assert found.verdict is WARNING
    taken = {"receiver": "stanch", "routes": [{"receiver": "pager", "continue": True}]}
    assert verdicts(judged({**GOOD, "route": taken})) == [WRONG]


def test_without_a_name_the_receiver_is_known_by_its_address() -> None:
    first, second = judged(GOOD, replace(TOKENS, receiver=None))
    assert (first.verdict, first.fix) == (WARNING, "set STANCH_ALERTMANAGER_RECEIVER=stanch")
    assert second.verdict is OK


def test_where_everybody_may_post_no_credentials_are_missed() -> None:
    anybody = Wanted("stanch", by_token=False, by_password=False)
    assert verdicts(judged(changed(lambda d: hook(d).pop("http_config")), anybody)) == [OK]


def test_peers_must_agree_and_all_be_asked() -> None:
    good = InForce(yaml(GOOD), 3)
    other = InForce(yaml(changed(lambda d: d["route"].update(group_wait="1s"))), 3)
    peers = (Peer("http://a", good), Peer("http://b", good))
    assert verdicts(alertmanagers.judge(peers, TOKENS)) == [OK, OK, WARNING]
    differing = alertmanagers.judge((Peer("http://a", good), Peer("http://b", other)), TOKENS)
    assert "http://a and http://b" in next(one.sentence for one in differing if one.verdict is WRONG)


def test_who_does_not_answer_is_wrong_and_who_does_not_tell_is_not_known() -> None:
    assert verdicts(alertmanagers.judge((Peer("http://a", "away", answers=False),), TOKENS)) == [WRONG]
    assert verdicts(alertmanagers.judge((Peer("http://a", "tells none"),), TOKENS)) == [UNKNOWN]
    assert verdicts(alertmanagers.judge((Peer("http://a", InForce("a: [", 1)),), TOKENS)) == [UNKNOWN]
    assert verdicts(alertmanagers.judge((), TOKENS)) == [WARNING]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "stanch", "1h"]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["receiver", "routes", "match", "url", "webhook_configs"]), below)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["route", "receivers", "global"]), JSON))
def test_whatever_a_configuration_says_it_is_judged(document: dict[str, Any]) -> None:
    assert judged(document)


@pytest.mark.parametrize(
    ("off", "verdict"),
    [(0, OK), (5, OK), (-5, OK), (7, WRONG), (-7, WRONG)],
)
@pytest.mark.parametrize("took", [0, 1])
def test_a_clock_is_wrong_beyond_five_seconds(off: int, verdict: Verdict, took: int) -> None:
    asked, answered = NOW, NOW + timedelta(seconds=took)
    (found,) = clocks.judge([Clock("Prometheus", NOW + timedelta(seconds=off), asked, answered)])
    assert found.verdict is verdict
    if off == 7:
        assert f"{7 - took} s ahead" in found.sentence


def test_a_slow_answer_and_a_coarse_clock_are_not_held_against_it() -> None:
    slow = Clock("a", NOW, NOW - timedelta(seconds=30), NOW + timedelta(seconds=30))
    coarse = Clock("b", NOW - timedelta(seconds=5.9), NOW, NOW, step=timedelta(seconds=1))
    assert verdicts(clocks.judge([slow, coarse])) == [OK, OK]
    assert verdicts(clocks.judge([replace(coarse, step=timedelta(0))])) == [WRONG]


READ = Grant(READER, "shop", Permission("", "pods", "list"))
WRITE = Grant(EXECUTOR, "shop", Permission("apps", "deployments", "patch"), ("api",))
ISOLATE = Grant(ISOLATOR, None, Permission("", "nodes", "patch", everywhere=True))
GRANTS = [READ, WRITE, ISOLATE]
ACCOUNTS = Accounts("system:serviceaccount:stanch:reader", None, "lena")


def asked(accounts: Accounts = ACCOUNTS, **reviews: bool) -> list[rights.Asked]:
    both = {"reviews_tokens": False, "reviews_access": False} | reviews
    return rights.questions(GRANTS, accounts, **both)


def answered(*no: str, reasons: dict[str, str] = {}) -> list[Finding]:  # noqa: B006 - never changed
    """Yes to all that is needed and no to all that is too much, but for these."""
    said: dict[rights.Asked, bool | str] = {}
    for one in asked(reviews_tokens=True, reviews_access=True):
        said[one] = reasons.get(str(one), (str(one) in no) == one.too_much)
    return rights.judge(said, ACCOUNTS, policies="my policies")


def test_every_right_is_asked_as_who_needs_it() -> None:
    needed = {(one.who, str(one), one.namespace) for one in asked() if not one.too_much}
    assert needed == {
        (Who.READER, "list pods", "shop"),
        (Who.EXECUTOR, "patch deployments.apps api", "shop"),
        (Who.ISOLATOR, "patch nodes", ""),
        (Who.OURSELVES, "impersonate serviceaccounts reader", "stanch"),
        (Who.OURSELVES, "impersonate users lena", ""),
    }


def test_who_acts_where_no_account_is_named() -> None:
    alone = Accounts(None, "executor", None)
    found = [alone.of(who) for who in (Who.READER, Who.EXECUTOR, Who.ISOLATOR, Who.OURSELVES)]
    assert found == [None, "executor", "executor", None]


def test_reviews_are_asked_only_where_people_are_known_by_the_cluster() -> None:
    created = {str(one) for one in asked(reviews_access=True)} - {str(one) for one in asked()}
    assert created == {"create subjectaccessreviews.authorization.k8s.io"}


def test_where_every_right_is_there_and_none_too_many_one_line_says_so() -> None:
    (found,) = answered()
    assert (found.verdict, "all 7 rights" in found.sentence) == (OK, True)


MISSING = {
    "list pods": ("stanch rbac 'my policies' | kubectl apply -f -", "serviceaccount=stanch:reader"),
    "patch deployments.apps api": ("rolebinding stanch-executor -n shop", "serviceaccount=stanch:reader"),
    "patch nodes": ("kubectl create clusterrolebinding stanch-isolator", "--user=lena"),
    "impersonate serviceaccounts reader": ("kubectl create role stanch-as-reader -n stanch", "--verb=imp"),
    "impersonate users lena": ("kubectl create clusterrole stanch-as-lena", "--resource=users"),
    "create tokenreviews.authentication.k8s.io": ("system:auth-delegator", "clusterrolebinding"),
    "create subjectaccessreviews.authorization.k8s.io": ("system:auth-delegator", "clusterrolebinding"),
}


@pytest.mark.parametrize("right", MISSING)
def test_a_right_that_is_missing_is_named_with_the_command(right: str) -> None:
    (found,) = answered(right)
    assert found.verdict is WRONG
    assert all(words in found.fix for words in MISSING[right])


def test_what_cannot_be_asked_is_one_finding_for_each_reason() -> None:
    reasons = {"list pods": "403 Forbidden", "patch deployments.apps api": "403 Forbidden"}
    (found,) = answered(reasons=reasons)
    assert (found.verdict, "2 right(s)" in found.sentence) == (UNKNOWN, True)


@pytest.mark.parametrize("right", ["delete pods", "create pods/exec", "* *.*"])
def test_a_right_too_many_is_a_warning(right: str) -> None:
    found = answered(right)
    assert all(one.verdict is not WRONG for one in found)
    warned = [one.sentence for one in found if one.verdict is WARNING]
    words = "everything" if right == "* *.*" else right
    assert [sentence for sentence in warned if ACCOUNTS.reader in sentence and words in sentence]  # type: ignore[operator]


STORE = stores.StoreFacts("SQLite /s", Looked("0007"), stores.Disk("/", True, 10 * 1024**3))
STORES = {
    "is well": (STORE, [OK, OK]),
    "is not there yet": (replace(STORE, told=None), [OK, OK]),
    "has no tables yet": (replace(STORE, told=Looked(None)), [OK, OK]),
    "is away": (replace(STORE, told="refused"), [WRONG, OK]),
    "is of an older release": (replace(STORE, told=Looked("0006")), [WARNING, OK]),
    "is of a newer release": (replace(STORE, told=Looked("0008")), [WRONG, OK]),
    "cannot be written": (replace(STORE, disk=stores.Disk("/", False, 10 * 1024**3)), [OK, WRONG, OK]),
    "has little room": (replace(STORE, disk=stores.Disk("/", True, 1024**3)), [OK, WARNING]),
    "has no room": (replace(STORE, disk=stores.Disk("/", True, 1024**2)), [OK, WRONG]),
    "is elsewhere": (replace(STORE, disk=None), [OK]),
    "is a standby": (replace(STORE, told=Looked("0007", writable=False), disk=None), [OK, WRONG]),
    "takes us": (replace(STORE, told=Looked("0007", sessions=Sessions(97, 20, 12)), disk=None), [OK]),
    "is full but for our own": (
        replace(STORE, told=Looked("0007", sessions=Sessions(20, 20, 12)), disk=None),
        [OK],
    ),
    "is full of others": (
        replace(STORE, told=Looked("0007", sessions=Sessions(20, 9, 0)), disk=None),
        [OK, WARNING],
    ),
    "is too small": (
        replace(STORE, told=Looked("0007", sessions=Sessions(11, 0, 0)), disk=None),
        [OK, WRONG],
    ),
}


@pytest.mark.parametrize(("facts", "expected"), STORES.values(), ids=STORES.keys())
def test_a_store_that(facts: stores.StoreFacts, expected: list[Verdict]) -> None:
    found = stores.judge(facts, head="0007", sessions=12, kept_bytes=2 * 1024**3)
    assert verdicts(found) == expected
    assert all(one.fix for one in found if one.verdict is not OK)


@pytest.mark.parametrize(
    ("disk", "wanted", "expected"),
    [
        (None, False, []),
        (None, True, [WARNING]),
        (stores.Disk("/e", False, 10**12), True, [WRONG]),
        (stores.Disk("/e", True, 10**12), True, [OK]),
        (stores.Disk("/e", True, 10**7), True, [WRONG]),
        (stores.Disk("/e", True, 10**9), True, [WARNING]),
    ],
)
def test_evidence_needs_a_folder_with_room(
    disk: stores.Disk | None, wanted: bool, expected: list[Verdict]
) -> None:
    assert verdicts(stores.judge_evidence(disk, wanted=wanted)) == expected


def test_files_of_secrets_are_for_us_alone() -> None:
    found = files.judge(
        [
            files.SecretFile("A", "/a", 0o100600),
            files.SecretFile("B", "/b", 0o100644),
            files.SecretFile("C", "/c", "it is empty"),
        ]
    )
    assert verdicts(found) == [WARNING, WRONG, OK]
    assert found[0].fix.startswith("chmod o-r /b")


def a_rule(name: str, **labels: str) -> RuleLabels:
    return RuleLabels(name, MappingProxyType(labels), healthy=True)


def test_a_policy_without_an_alerting_rule_is_named() -> None:
    policies = read_policies(None).policies
    assert policies is not None
    (policy,) = [one for one in policies.policies if one.name.startswith("inc-001")][:1]
    (name,) = [one.value for one in policy.match.matchers if one.label == "alertname"][:1]
    fitting = next(
        one for one in (name, *name.split("|")) if policy.match.matchers[0].holds({"alertname": one})
    )
    assert verdicts(rules.judge([policy], [a_rule("Other")])) == [WARNING]
    assert verdicts(rules.judge([policy], [a_rule(fitting)])) == [OK]
    ailing = replace(a_rule(fitting), healthy=False)
    assert verdicts(rules.judge([policy], [ailing])) == [WARNING]


def test_only_what_is_wrong_makes_it_not_well() -> None:
    for verdict in Verdict:
        one = Finding(Area.CLOCK, verdict, "x", "y")
        assert all_well([one]) is (verdict is not WRONG)
