"""Who may impersonate somebody is taken for them: their rights, their name in the record, their policies."""

from __future__ import annotations

from typing import Any

import pytest
from ready_pods import ready_pod

from receiver.demo.kubernetes import ApiServer, User

ISOLATOR = "system:serviceaccount:stanch:stanch-isolator"
POD = "/api/v1/namespaces/shop/pods/job"
SERVICE = "system:serviceaccount:stanch:stanch"


@pytest.fixture(autouse=True)
def accounts(api: ApiServer) -> None:
    api.load([ready_pod("job")])
    api.access.tokens = {
        "service": User(SERVICE, only=frozenset({("impersonate", "serviceaccounts")})),
        "isolator": User(ISOLATOR, only=frozenset({("get", "pods")})),
        "person": User("carol", forbidden=frozenset({("impersonate", "*")})),
    }


async def ask(client: Any, token: str, path: str = POD, method: str = "GET", *, act_as: str = "") -> Any:
    acting = {"Impersonate-User": act_as} if act_as else {}
    return await client(method, path, headers={"Authorization": f"Bearer {token}", **acting})


async def test_the_request_is_then_the_other_accounts(api: ApiServer, client: Any) -> None:
    assert (await ask(client, "service"))[0] == 403
    assert (await ask(client, "service", act_as=ISOLATOR))[0] == 200
    status, body = await ask(client, "service", method="DELETE", act_as=ISOLATOR)
    assert status == 403
    assert f'User "{ISOLATOR}" cannot delete resource "pods"' in body["message"]
    assert [call.user for call in api.calls] == [SERVICE, ISOLATOR, ISOLATOR]


@pytest.mark.parametrize(
    ("token", "act_as", "message"),
    [
        (
            "person",
            ISOLATOR,
            'serviceaccounts "stanch-isolator" is forbidden: User "carol" cannot impersonate resource '
            '"serviceaccounts" in API group "" in the namespace "stanch"',
        ),
        (
            "service",
            "dave",
            f'users "dave" is forbidden: User "{SERVICE}" cannot impersonate resource "users" '
            'in API group "" at the cluster scope',
        ),
    ],
    ids=["an account", "a person"],
)
async def test_without_the_right_nobody_is_taken_for_another(
    client: Any, token: str, act_as: str, message: str
) -> None:
    status, body = await ask(client, token, act_as=act_as)
    assert (status, body["message"]) == (403, message)


async def test_who_has_no_token_impersonates_nobody(client: Any) -> None:
    assert (await ask(client, "unheard of", act_as=ISOLATOR))[0] == 401


async def test_an_account_has_the_groups_that_every_account_has(api: ApiServer) -> None:
    headers = {"Authorization": "Bearer service", "Impersonate-User": ISOLATOR}
    assert api.access.who(headers).groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:stanch",
        "system:authenticated",
    )
