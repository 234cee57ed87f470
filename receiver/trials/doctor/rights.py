"""Which rights the service's accounts must have in the cluster, and what the cluster said of each."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from receiver.domain.plans import Permission
from receiver.policy.rbac import EXECUTOR, ISOLATOR, READER, Grant
from receiver.trials.doctor.findings import Area, Finding, doubt, unknown, well, wrong

_ACCOUNT = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)")
OURSELVES = "stanch itself"

# What no cure, probe or isolation ever takes: who has it can do what the service never would.
TOO_MUCH = (
    Permission("*", "*", "*"),
    Permission("", "pods", "delete"),
    Permission("", "pods/exec", "create"),
    Permission("", "namespaces", "delete", everywhere=True),
    Permission("apps", "deployments", "delete"),
    Permission("rbac.authorization.k8s.io", "clusterrolebindings", "create", everywhere=True),
)


class Who(StrEnum):
    """As which account something is asked: one of three roles, or as ourselves."""

    READER = READER
    EXECUTOR = EXECUTOR
    ISOLATOR = ISOLATOR
    OURSELVES = OURSELVES


@dataclass(frozen=True)
class Accounts:
    """The account that each role is filled by; None is our own."""

    reader: str | None
    executor: str | None
    isolator: str | None

    def of(self, who: Who) -> str | None:
        """Who it is that acts in this role; an executor is the reader by default, as is an isolator."""
        match who:
            case Who.READER:
                return self.reader
            case Who.EXECUTOR:
                return self.executor or self.reader
            case Who.ISOLATOR:
                return self.isolator or self.of(Who.EXECUTOR)
            case Who.OURSELVES:
                return None

    @property
    def impersonated(self) -> tuple[str, ...]:
        """Those whom we act as, each once."""
        return tuple(dict.fromkeys(one for one in (self.reader, self.executor, self.isolator) if one))


@dataclass(frozen=True)
class Asked:
    """One question to the cluster; ``namespace`` empty is the whole cluster, ``name`` empty any."""

    who: Who
    permission: Permission
    namespace: str = ""
    name: str = ""
    too_much: bool = False

    def __str__(self) -> str:
        return f"{self.permission} {self.name}".rstrip()


def questions(
    grants: Iterable[Grant], accounts: Accounts, *, reviews_tokens: bool, reviews_access: bool
) -> list[Asked]:
    """All that must be asked: what the policies take, what we ourselves take, and what nobody should have."""
    needed = list(grants)
    found: dict[Asked, None] = {}
    for grant in needed:
        for name in grant.names or ("",):
            found[Asked(Who(grant.role), grant.permission, grant.namespace or "", name)] = None
    for account in accounts.impersonated:
        found[_to_impersonate(account)] = None
    if reviews_tokens:
        found[_to_create("authentication.k8s.io", "tokenreviews")] = None
    if reviews_access:
        found[_to_create("authorization.k8s.io", "subjectaccessreviews")] = None
    granted = {grant.permission for grant in needed}
    # Each account once, in the namespaces where it has something to do.
    places = {(accounts.of(Who(grant.role)), grant.namespace or ""): Who(grant.role) for grant in needed}
    for (_, namespace), who in places.items():
        for permission in TOO_MUCH:
            where = "" if permission.everywhere else namespace
            if permission not in granted:
                found[Asked(who, permission, where, too_much=True)] = None
    return list(found)


def judge(answers: Mapping[Asked, bool | str], accounts: Accounts, *, policies: str | None) -> list[Finding]:
    """What is missing, what is too much, and what could not be asked; ``policies`` is the folder of them.

    An answer is yes or no, or the reason why there is none.
    """
    needed = {asked: answer for asked, answer in answers.items() if not asked.too_much}
    found = [*_ours(needed), *_unanswered(needed, accounts), *_missing(needed, accounts, policies)]
    if needed and not found:
        found.append(well(Area.RIGHTS, f"all {len(needed)} rights that these policies need are there"))
    return [*found, *_too_much(answers, accounts)]


def _ours(needed: Mapping[Asked, bool | str]) -> Iterator[Finding]:
    for asked, answer in needed.items():
        if asked.who is not Who.OURSELVES or answer is not False:
            continue
        if asked.permission.verb == "impersonate":
            yield wrong(
                Area.RIGHTS,
                f"{OURSELVES} may not act as {asked.permission.resource} {asked.name}"
                + (f" in {asked.namespace}" if asked.namespace else ""),
                _granting(asked),
            )
        else:
            yield wrong(
                Area.RIGHTS,
                f"{OURSELVES} may not {asked.permission}, so people of the cluster get nowhere",
                "kubectl create clusterrolebinding stanch-auth --clusterrole=system:auth-delegator"
                " --serviceaccount=NAMESPACE:ACCOUNT (the account that Stanch runs as)",
            )


def _granting(asked: Asked) -> str:
    """The commands by which we may act as that account and no other."""
    resource, name = asked.permission.resource, shlex.quote(asked.name)
    role = "role" if asked.namespace else "clusterrole"
    where = f" -n {shlex.quote(asked.namespace)}" if asked.namespace else ""
    called = f"stanch-as-{name}"
    return (
        f"kubectl create {role} {called}{where} --verb=impersonate"
        f" --resource={resource} --resource-name={name}"
        f" && kubectl create {role}binding {called}{where} --{role}={called}"
        " --serviceaccount=NAMESPACE:ACCOUNT (the account that Stanch runs as)"
    )


def _unanswered(needed: Mapping[Asked, bool | str], accounts: Accounts) -> Iterator[Finding]:
    """One finding for each account and reason: a cluster that is away is away for every right."""
    reasons: dict[tuple[str, str], int] = defaultdict(int)
    for asked, answer in needed.items():
        if isinstance(answer, str):
            reasons[accounts.of(asked.who) or OURSELVES, answer] += 1
    for (account, reason), count in reasons.items():
        yield unknown(
            Area.RIGHTS,
            f"{count} right(s) of {account} cannot be asked about: {reason}",
            "first mend what the reason names, then ask again",
        )


def _missing(
    needed: Mapping[Asked, bool | str], accounts: Accounts, policies: str | None
) -> Iterator[Finding]:
    """One finding for each role and namespace: one command grants all of it."""
    lacking: dict[tuple[Who, str], list[Asked]] = defaultdict(list)
    for asked, answer in needed.items():
        if answer is False and asked.who is not Who.OURSELVES:
            lacking[asked.who, asked.namespace].append(asked)
    for (who, namespace), rights in lacking.items():
        account = accounts.of(who)
        place = f"in {namespace}" if namespace else "in the whole cluster"
        yield wrong(
            Area.RIGHTS,
            f"the {who.value.removeprefix('stanch-')} ({account or OURSELVES}) may not, {place}:"
            f" {', '.join(sorted(map(str, rights)))}",
            f"stanch rbac{'' if policies is None else ' ' + shlex.quote(policies)} | kubectl apply -f -"
            f" && {_binding(who, namespace, account)}",
        )


def _binding(who: Who, namespace: str, account: str | None) -> str:
    role = "role" if namespace else "clusterrole"
    where = f" -n {shlex.quote(namespace)}" if namespace else ""
    found = _ACCOUNT.fullmatch(account or "")
    if found is not None:
        subject = f"--serviceaccount={found['namespace']}:{found['name']}"
    elif account is not None:
        subject = f"--user={shlex.quote(account)}"
    else:
        subject = "--serviceaccount=NAMESPACE:ACCOUNT (the account that Stanch runs as)"
    return f"kubectl create {role}binding {who.value}{where} --{role}={who.value} {subject}"


def _too_much(answers: Mapping[Asked, bool | str], accounts: Accounts) -> Iterator[Finding]:
    held: dict[str, dict[str, None]] = defaultdict(dict)
    for asked, answer in answers.items():
        if asked.too_much and answer is True:
            everything = asked.permission == TOO_MUCH[0]
            held[accounts.of(asked.who) or OURSELVES]["everything" if everything else str(asked)] = None
    for account, rights in held.items():
        yield doubt(
            Area.RIGHTS,
            f"{account} may do what Stanch never does: {', '.join(rights)}",
            "bind it to what `stanch rbac` prints and to nothing else; meanwhile"
            " `stanch admission | kubectl apply -f -` refuses much of it",
        )


def _to_impersonate(account: str) -> Asked:
    found = _ACCOUNT.fullmatch(account)
    if found is None:
        return Asked(Who.OURSELVES, Permission("", "users", "impersonate", everywhere=True), "", account)
    right = Permission("", "serviceaccounts", "impersonate")
    return Asked(Who.OURSELVES, right, found["namespace"], found["name"])


def _to_create(group: str, resource: str) -> Asked:
    return Asked(Who.OURSELVES, Permission(group, resource, "create", everywhere=True))
