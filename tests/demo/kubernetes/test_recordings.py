"""The small API server answers as a real one did: every recorded request is sent again, every field compared.

The recordings are one session, so they are replayed as one: the same world is built up step by step, and
each step's answer is compared whole. What must differ from run to run (times, uids, versions, generated
names) is made alike on both sides first; every other difference is listed below with its reason, or fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from receiver.demo.kubernetes import ApiServer, Grant, SteppedClock, User

RECORDINGS = Path(__file__).parents[2] / "data" / "kubernetes" / "recordings"
EVICTED_POD = "84ee3463-3673-4a21-87d1-e99d74ae317c"
NOBODY = "00000000-0000-0000-0000-000000000000"

DIFFERENT_ON_PURPOSE: dict[str, dict[str, str]] = {
    "discovery-apis": {"groups": "fewer groups are served; those served are compared below"},
    "pods-limit-continue": {
        "items[0]": "which pod sorts first hangs on the template's hash; it is compared in the full list",
    },
    "tokenreview-good": {"status.user.extra": "the id of the credential, which tokens here do not have"},
    "resources-patch": {
        "status.replicas": "recorded between two steps of the controllers, which here are one",
        "status.updatedReplicas": "the same",
    },
    "vap-get": {"status": "nobody checks the types of expressions here"},
    "vap-replace": {"status": "the same"},
    "pvc-expand-forbidden": {
        "message": "it goes on with a diff of the server's own types; its beginning is compared below",
        "details.causes[0].message": "the same",
    },
}
"""Recording, path in its answer, reason."""

# Which ReplicaSet a recorded hash belongs to, by the image in its template.
RECORDED_HASHES = {
    "5cc687c66": "shop/api:v1",
    "8677974b49": "shop/api:v2",
    "6bfccb4dbb": "shop/api:broken",
    "5bc77c977": "web:broken",
}


def recording(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RECORDINGS / f"{name}.json").read_text())
    return loaded


class Replay:
    """Sends recorded requests to ``api`` in terms of its own names and versions."""

    def __init__(self, api: ApiServer, client: aiohttp.ClientSession) -> None:
        self.api = api
        self.client = client
        self.uids: dict[str, str] = {}
        """Recorded uid to ours."""
        self._versions: dict[str, str] = {"1": "1"}
        self.stripped = ""
        """A pod that left its ReplicaSet and is what the requests are about from then on."""

    async def check(self, name: str, *, token: str = "admin", reviewed: str = "") -> None:
        """Send the request of recording ``name``; fail on any difference of the answers.

        ``token`` is who sends it, ``reviewed`` the token within a TokenReview.
        """
        recorded = json.loads(json.dumps(recording(name)).replace("<token>", reviewed or "<token>"))
        wanted = recorded["response"]
        status, headers, body = await self.send(recorded["request"], token)
        if isinstance(body, dict) and isinstance(wanted.get("body"), dict):
            self._learn(wanted["body"], body)
        expected = [("status", wanted["status"]), *_leaves(self.alike(wanted.get("body")))]
        got = [("status", status), *_leaves(self.alike(body))]
        if "headers" in wanted:
            expected += [(f"header {key}", _media(value)) for key, value in wanted["headers"].items()]
            got += [(f"header {key}", _media(headers.get(key, ""))) for key in wanted["headers"]]
        allowed = tuple(DIFFERENT_ON_PURPOSE.get(name, ()))
        differences = [
            f"{sign} {path} = {value!r}"
            for sign, these, others in (("-", expected, got), ("+", got, expected))
            for path, value in these
            if (path, value) not in others and not path.startswith(allowed or ("\0",))
        ]
        assert not differences, f"{name}:\n" + "\n".join(differences)

    async def send(self, request: dict[str, Any], token: str) -> tuple[int, Any, Any]:
        body = request.get("body")
        headers = {"Authorization": f"Bearer {token}", "User-Agent": ""}
        if request.get("content_type"):
            headers["Content-Type"] = request["content_type"]
        data = None if body is None else json.dumps(self._ours(body))
        url = self.api.url + self._own_names(request["path"])
        async with self.client.request(request["method"], url, data=data, headers=headers) as answer:
            text = await answer.text()
            is_json = "json" in answer.headers["Content-Type"]
            return answer.status, answer.headers, json.loads(text) if is_json else text

    def _learn(self, recorded: dict[str, Any], got: dict[str, Any]) -> None:
        """Remember which of our uids and versions stands for which recorded one."""
        for key, known in (("uid", self.uids), ("resourceVersion", self._versions)):
            theirs, ours = recorded.get("metadata", {}).get(key), got.get("metadata", {}).get(key)
            if theirs and ours:
                known.setdefault(theirs, ours)

    def _ours(self, body: Any) -> Any:
        text = self._own_names(json.dumps(body))
        for theirs, ours in self.uids.items():
            text = text.replace(theirs, ours)

        def version(found: re.Match[str]) -> str:
            known = self._versions.get(found[2]) or self._current_version(body)
            return f"{found[1]}{known}"

        text = re.sub(r'("resourceVersion": ")(\d+)', version, text)
        text = re.sub(r'("/metadata/resourceVersion", "value": ")(\d+)', version, text)
        return json.loads(text)

    def _current_version(self, body: Any) -> str:
        plural, name = ("pods", self.pod()) if "labels" in str(body) else ("deployments", "api")
        return str(self.api.get(plural, "shop", name)["metadata"]["resourceVersion"])

    def pod(self) -> str:
        """The pod of ours that stands for whichever a recording names: the first of the v2 ReplicaSet."""
        if self.stripped:
            return self.stripped
        hashed = self._hashes()["shop/api:v2"]
        names = [str(pod["metadata"]["name"]) for pod in self.api.find("pods", "shop")]
        return next(name for name in names if name.startswith(f"api-{hashed}"))

    def _hashes(self) -> dict[str, str]:
        return {
            each["spec"]["template"]["spec"]["containers"][0]["image"]: each["metadata"]["labels"][
                "pod-template-hash"
            ]
            for each in self.api.find("replicasets", "shop")
        }

    def _own_names(self, text: str) -> str:
        if re.search(r"api-8677974b49-\w{5}", text):
            text = re.sub(r"api-8677974b49-\w{5}", self.pod(), text)
        hashes = self._hashes()
        for theirs, image in RECORDED_HASHES.items():
            text = text.replace(theirs, hashes.get(image, theirs))
        return text

    def alike(self, body: Any) -> Any:
        """Make alike what cannot be the same twice."""
        text = json.dumps(_without_noise(body), sort_keys=True)
        for theirs, image in RECORDED_HASHES.items():
            text = text.replace(theirs, f"<{image}>")
        for image, ours in self._hashes().items():
            text = text.replace(ours, f"<{image}>")
        text = re.sub(r"(-<[^>]+>)-\w{5}", r"\1-<pod>", text)
        for pattern, stand_in in (
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
            (rf"(?!{NOBODY})[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}", "<uid>"),
            (r'"resourceVersion": "\d+"', '"resourceVersion": "<version>"'),
            (r"kube-api-access-\w{5}", "kube-api-access-<any>"),
            (r'"nodeName": "[\w-]+"', '"nodeName": "<node>"'),
            (r"10\.244\.\d+\.\d+", "<address>"),
            (r'"api\.[0-9a-f]{16}"', '"api.<event>"'),
            (r'"stanch-\w{5}"', '"stanch-<any>"'),
            (r'"continue": "[\w-]+"', '"continue": "<token>"'),
            (r"[\d.]+:\d{4,5}", "<address>"),
        ):
            text = re.sub(pattern, stand_in, text)
        return _sorted_items(json.loads(text))


def _media(value: str) -> str:
    return value.replace(" ", "")


def _without_noise(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_noise(item) for item in value]
    if isinstance(value, str):
        return _opened(value)
    if not isinstance(value, dict):
        return value
    if value.get("configMap", {}).get("name") == "openshift-service-ca.crt":
        return {}  # an extra of the control plane that was recorded
    kept = {key: _without_noise(item) for key, item in value.items() if key != "managedFields"}
    if "sources" in kept:
        kept["sources"] = [source for source in kept["sources"] if source]
    return kept


def _opened(text: str) -> Any:
    """A message that carries a whole object in quotes: as the object, so that it is compared by field."""
    found = re.search(r'"\{(?:[^"\\]|\\.)*\}"', text)
    if not found:
        return text
    inner = _without_noise(json.loads(json.loads(found[0])))
    return {"before": text[: found.start()], "object": inner, "after": text[found.end() :]}


def _sorted_items(body: Any) -> Any:
    """Lists come sorted by name, and names differ: sort both sides by content instead."""
    if isinstance(body, dict) and isinstance(body.get("items"), list):
        body["items"].sort(key=lambda item: json.dumps(item, sort_keys=True))
    return body


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    clock = SteppedClock()
    api = ApiServer(clock=clock, automatic=False, ready_after=timedelta(0))
    api.access.tokens = {
        "admin": User("kubernetes-admin"),
        "viewer": User("viewer", forbidden=frozenset({("patch", "deployments")})),
        "carol": User(
            "system:serviceaccount:shop:carol",
            ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
            audiences=("stanch",),
            uid="46d695d9-f0f3-4b5c-a24b-5cc842b1ba71",
        ),
        "other": User("system:serviceaccount:shop:carol", audiences=("other",)),
    }
    api.access.grants.append(
        Grant(
            subject="oidc:sre",
            verb="approve",
            group="stanch.dev",
            resource="actions",
            namespace="shop",
            name="deployment.rollback",
            reason='RBAC: allowed by RoleBinding "approver/shop" of Role "approver" to Group "oidc:sre"',
        )
    )
    async with api, aiohttp.ClientSession() as client:
        yield Replay(api, client)


def image(api: ApiServer, tag: str) -> None:
    deployment = api.get("deployments", "shop", "api")
    containers = deployment["spec"]["template"]["spec"]["containers"]
    changed = [{**containers[0], "image": f"shop/api:{tag}"}, *containers[1:]]
    api.change("deployments", "shop", "api", {"spec": {"template": {"spec": {"containers": changed}}}})
    api.reconcile()


async def test_discovery_answers_as_recorded(replay: Replay) -> None:
    for name in ("version", "discovery-api", "discovery-apis", "discovery-apps-v1", "metrics-absent"):
        await replay.check(name)


async def test_every_group_served_is_listed_as_the_real_server_lists_it(replay: Replay) -> None:
    _, _, body = await replay.send({"method": "GET", "path": "/apis"}, "admin")
    real = {group["name"]: group for group in recording("discovery-apis")["response"]["body"]["groups"]}
    real["autoscaling"]["versions"] = [{"groupVersion": "autoscaling/v2", "version": "v2"}]
    # An operator's own group is no part of a bare control plane.
    operators = ("postgresql.cnpg.io", "keda.sh")
    groups = [group for group in body["groups"] if group["name"] not in operators]
    assert groups == [real[group["name"]] for group in groups]


async def test_the_recorded_session_goes_the_same_way_here(replay: Replay) -> None:
    """Long and straight on purpose: it is one session, in the order in which it was recorded."""
    api = replay.api
    api.rollout(web("1"), ago=timedelta(hours=1))
    api.rollout(web("broken"), ago=timedelta(minutes=1))

    await replay.check("deployment-create")
    await replay.check("deployment-create-again")
    await replay.check("deployment-get-missing")
    api.reconcile()
    await replay.check("deployment-get-healthy")
    image(api, "v2")

    await replay.check("deployment-set-image-strategic")
    api.reconcile()
    for name in (
        "deployment-get-broken-rollout",
        "replicasets-of-deployment",
        "pods-of-deployment",
        "pods-limit-continue",
        "pods-field-selector",
        "pod-log",
        "patch-json-test-wrong-uid",
        "patch-json-test-wrong-resourceversion",
        "patch-merge-stale-resourceversion",
        "patch-strategic-stale-resourceversion",
        "patch-merge-wrong-uid",
        "put-stale-resourceversion",
        "patch-unknown-field-strict",
        "patch-unknown-field-warn",
        "patch-invalid-value",
        "rollback-dry-run",
        "rollback-merge-patch",
        "rollback-again-same-body",
    ):
        await replay.check(name)

    api.reconcile()
    for name in (
        "deployment-get-after-rollback",
        "replicasets-after-rollback",
        "env-add-strategic",
        "env-remove-strategic",
        "env-merge-wipes-containers",
        "env-no-change",
        "scale-get",
        "scale-patch-dry-run",
        "scale-patch",
        "scale-patch-stale",
        "restart-annotation",
    ):
        await replay.check(name)

    api.controller.ready_after = timedelta(seconds=1)
    api.reconcile()
    await replay.check("resources-patch")
    api.controller.ready_after = timedelta(0)
    api.reconcile()

    await replay.check("pdb-create")
    api.reconcile()
    for name in ("pdb-get", "evict-refused-by-pdb", "evict-wrong-uid"):
        await replay.check(name)
    api.change("poddisruptionbudgets", "shop", "api", {"spec": {"minAvailable": 1}})
    api.reconcile()
    replay.uids[EVICTED_POD] = api.get("pods", "shop", replay.pod())["metadata"]["uid"]
    for name in ("evict-dry-run", "evict", "evict-gone"):
        await replay.check(name)

    api.reconcile()
    replay.stripped = replay.pod()
    for name in ("hpa-create", "hpa-patch-min", "hpa-patch-min-over-max", "pod-strip-labels"):
        await replay.check(name)
    api.reconcile()
    await replay.check("pod-after-strip")
    for name in ("vap-create", "vap-binding-create", "vap-get", "vap-replace"):
        await replay.check(name)
    for name in ("vap-denies-delete", "vap-allows-label-change"):
        await replay.check(name, token="carol")
    for name in ("event-create", "events-of-deployment", "lease-create", "lease-put-stale"):
        await replay.check(name)

    api.change("deployments", "shop", "api", {"spec": {"replicas": 10}})
    api.reconcile()
    for name in (
        "patch-json-replace-resourceversion-stale",
        "patch-json-replace-resourceversion-good",
        "patch-json-replace-uid-wrong",
    ):
        await replay.check(name)


async def test_a_claim_without_a_volume_cannot_grow_in_the_recorded_words(replay: Replay) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    metadata = {"name": "data", "namespace": "shop"}
    replay.api.load(
        [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}]
    )
    await replay.check("pvc-expand-forbidden")
    recorded = recording("pvc-expand-forbidden")
    _, _, body = await replay.send(recorded["request"], "admin")
    assert recorded["response"]["body"]["message"].startswith(f"{body['message']}\n")


async def test_who_may_do_what_is_answered_as_recorded(replay: Replay) -> None:
    replay.api.load([web("1")])
    await replay.check("unauthenticated", token="unheard of")
    await replay.check("forbidden", token="viewer")
    await replay.check("selfsar")
    await replay.check("selfsar-viewer", token="viewer")
    await replay.check("sar-allowed-without-crd")
    await replay.check("sar-denied-other-name")
    await replay.check("sar-denied-other-verb")


async def test_whose_token_it_is_is_answered_as_recorded(replay: Replay) -> None:
    await replay.check("tokenreview-good", reviewed="carol")
    await replay.check("tokenreview-other-audience", reviewed="other")
    await replay.check("tokenreview-garbage")


async def test_a_watch_begins_as_recorded(replay: Replay) -> None:
    """First what there is, then a bookmark that says so, to the field."""
    api, recorded = replay.api, recording("watch-initial-events")
    api.load([{**web("1"), "metadata": {"name": name, "namespace": "shop"}} for name in ("api", "web")])
    wanted = recorded["response"]["lines"]
    headers = {"Authorization": "Bearer admin"}
    async with replay.client.get(api.url + recorded["request"]["path"], headers=headers) as answer:
        got = [json.loads(await answer.content.readline()) for _ in wanted]
    for event in got[:-1]:
        whole = event["object"]
        cut = {key: whole["metadata"][key] for key in ("name", "resourceVersion")}
        event["object"] = {"kind": whole["kind"], "metadata": cut}
    assert replay.alike(got) == replay.alike(wanted)


def test_no_recording_is_left_out() -> None:
    """Each file in the folder is named by a test in this one."""
    source = Path(__file__).read_text()
    assert [path.stem for path in RECORDINGS.glob("*.json") if f'"{path.stem}"' not in source] == []


def web(tag: str) -> dict[str, Any]:
    labels = {"app": "web"}
    container = {"name": "web", "image": f"web:{tag}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
