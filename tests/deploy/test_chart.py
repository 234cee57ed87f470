"""The chart under both Helms, from the least values to everything: a cluster takes what it renders."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_files import CHART
from chart_rendering import (
    CASES,
    HELMS,
    OF_THE_OPERATOR,
    Document,
    environment_of,
    of_kind,
    pod_of,
    refused,
    rendered,
    rendered_text,
    run,
    values_of,
)
from restricted import violations

from receiver.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parent.parent.parent
# The oldest that has what the chart makes, and the newest two that the schemas are to be had of.
KUBERNETES = ("1.30.0", "1.36.0", "1.37.0")
# Whoever serves everybody does so by hand, for a trial.
NOT_SETTABLE = {"STANCH_INSECURE_NO_AUTH"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("helm", HELMS)
def test_lint_has_nothing_to_say(helm: str, case: str) -> None:
    done = run(helm, "lint", "--strict", CHART, "-f", values_of(case))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_both_helms_render_the_same(case: str) -> None:
    first, second = (rendered(case, helm=helm) for helm in HELMS)

    def order(document: Document) -> tuple[str, str, str]:
        metadata = document["metadata"]
        return document["kind"], metadata.get("namespace", ""), metadata["name"]

    assert sorted(first, key=order) == sorted(second, key=order)
    names = [order(document) for document in first]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_field_is_known_to_kubernetes(version: str, tmp_path: Path) -> None:
    for case in CASES:
        known = [found for found in rendered(case) if found["kind"] not in OF_THE_OPERATOR]
        assert len(known) > 5
        (tmp_path / f"{case}.yaml").write_text(yaml.safe_dump_all(known), encoding="utf-8")
    files = sorted(tmp_path.glob("*.yaml"))
    done = run("kubernetes-validate", "--strict", "-k", version, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "WARN" not in said
    assert said.count("INFO") >= len(files), said


def test_a_field_that_kubernetes_does_not_know_would_be_found(tmp_path: Path) -> None:
    documents = rendered("default")
    pod_of(documents)["containers"][0]["imagePolicy"] = "Always"
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    done = run("kubernetes-validate", "--strict", "-k", KUBERNETES[0], tmp_path / "wrong.yaml")
    assert done.returncode != 0
    assert "imagePolicy" in done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_pod_passes_restricted_and_writes_to_its_volumes_only(case: str) -> None:
    spec = pod_of(rendered(case))
    assert violations(spec) == []
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    for mount in container["volumeMounts"]:
        writable = mount["name"] in ("tmp", "store", "evidence")
        assert mount.get("readOnly", False) is not writable, mount
        assert "subPath" not in mount


@pytest.mark.parametrize("case", CASES)
def test_one_token_is_mounted_and_it_is_the_pods_own(case: str) -> None:
    documents = rendered(case)
    assert pod_of(documents)["automountServiceAccountToken"] is False
    accounts = of_kind(documents, "ServiceAccount")
    assert [account["automountServiceAccountToken"] for account in accounts] == [False] * 4
    tokens = [
        source["serviceAccountToken"]
        for volume in pod_of(documents)["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if "serviceAccountToken" in source
    ]
    assert len(tokens) == 1 and tokens[0]["expirationSeconds"] <= 3600


@pytest.mark.parametrize("case", CASES)
def test_the_service_takes_every_variable_that_it_is_given(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gets no other: with service links a Service of our name would be settings that there are not."""
    documents = rendered(case)
    assert pod_of(documents)["enableServiceLinks"] is False
    for name, value in environment_of(documents).items():
        monkeypatch.setenv(name, value if isinstance(value, str) else "postgresql://u:p@db/stanch")
    settings = read_settings()
    assert settings.kube_context == "in-cluster"
    assert settings.metrics_address == ("0.0.0.0", 9090)
    accounts = {settings.reader, settings.executor, settings.isolator}
    named = {account["metadata"]["name"] for account in of_kind(documents, "ServiceAccount")}
    assert accounts == {f"system:serviceaccount:stanch:{name}" for name in named - {"stanch"}}


def test_every_setting_can_be_made_by_values() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    settable = {name for case in CASES for name in environment_of(rendered(case))}
    assert known - settable == NOT_SETTABLE
    assert settable <= known


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_is_named_is_mounted_and_a_secret_is_only_named(case: str) -> None:
    documents = rendered(case)
    assert not of_kind(documents, "Secret")
    (container,) = pod_of(documents)["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_of(documents)["volumes"]}
    assert set(mounts.values()) == set(volumes)
    for name, value in environment_of(documents).items():
        if not isinstance(value, str):
            assert set(value) == {"secretKeyRef"}
        elif value.startswith("/"):
            found = [path for path in mounts if value == path or value.startswith(f"{path}/")]
            assert len(found) == 1, f"{name} names {value}, which is nowhere"
    for path, name in mounts.items():
        if "secret" in volumes[name]:
            assert path == f"/etc/stanch/{name}"


def test_secrets_stay_where_the_setting_looks_for_them() -> None:
    found = environment_of(rendered("everything"))
    inside = {name: value for name, value in found.items() if str(value).startswith("/etc/stanch/")}
    assert inside == {
        "STANCH_ANNOUNCE_WEBHOOK_FILE": "/etc/stanch/announce-webhook/url",
        "STANCH_API_TOKENS_FILE": "/etc/stanch/api-tokens/api-tokens.yaml",
        "STANCH_DATABASES_FILE": "/etc/stanch/databases/databases.yaml",
        "STANCH_ENDPOINTS_FILE": "/etc/stanch/endpoints/endpoints.yaml",
        "STANCH_PAGERDUTY_KEY_FILE": "/etc/stanch/pagerduty/pagerduty",
        "STANCH_POLICIES": "/etc/stanch/policies",
        "STANCH_SECURITY_KEYS": "/etc/stanch/security-keys",
        "STANCH_STANDING_FILE": "/etc/stanch/standing/standing.yaml",
        "STANCH_TLS_CERT_FILE": "/etc/stanch/tls/tls.crt",
        "STANCH_TLS_CLIENT_CA_FILE": "/etc/stanch/tls/ca.crt",
        "STANCH_TLS_KEY_FILE": "/etc/stanch/tls/tls.key",
        "STANCH_WEBHOOK_TOKEN_FILE": "/etc/stanch/webhook-tokens/token",
        "STANCH_WEBHOOK_USERS_FILE": "/etc/stanch/webhook-users/users",
    }
    assert found["STANCH_MAX_BODY_BYTES"] == "33554432"
    store = environment_of(rendered("postgresql"))["STANCH_STORE"]
    assert store == {"secretKeyRef": {"name": "stanch-store", "key": "url"}}


def test_sqlite_has_one_pod_that_goes_before_the_next_comes_and_a_claim_that_stays() -> None:
    documents = rendered("default")
    (deployment,) = of_kind(documents, "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    (claim,) = of_kind(documents, "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_postgresql_has_several_that_are_replaced_one_by_one_and_no_claim() -> None:
    documents = rendered("postgresql")
    (deployment,) = of_kind(documents, "Deployment")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    assert not of_kind(documents, "PersistentVolumeClaim")
    (budget,) = of_kind(documents, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_on_the_port_that_callers_do_not_reach(case: str) -> None:
    documents = rendered(case)
    (container,) = pod_of(documents)["containers"]
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "metrics"}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    found = environment_of(documents)
    assert found["STANCH_LISTEN"].endswith(f":{ports['http']}")
    assert found["STANCH_METRICS_LISTEN"].endswith(f":{ports['metrics']}")
    for service in of_kind(documents, "Service"):
        names = {port["name"] for port in service["spec"]["ports"]}
        assert service["spec"]["type"] == "ClusterIP" or names == {"http"}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)


def test_it_is_given_longer_to_stop_than_it_takes() -> None:
    grace = pod_of(rendered("default"))["terminationGracePeriodSeconds"]
    default = Settings.model_fields["shutdown_within"].default
    assert grace > default.total_seconds() + 10


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods_and_only_those(case: str) -> None:
    documents = rendered(case)
    (deployment,) = of_kind(documents, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors: list[dict[str, str]] = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in of_kind(documents, "Service")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(documents, "NetworkPolicy")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(documents, "PodDisruptionBudget")]
    for selector in selectors:
        assert selector.items() <= labels
        assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


def test_nothing_gets_in_or_out_but_what_is_named() -> None:
    (default,) = of_kind(rendered("default"), "NetworkPolicy")
    assert sorted(default["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    assert {port["port"] for rule in default["spec"]["ingress"] for port in rule["ports"]} == {
        "http",
        "metrics",
    }
    assert {port["port"] for rule in default["spec"]["egress"] for port in rule["ports"]} == {
        53,
        443,
        6443,
        9090,
        9093,
    }
    (everything,) = of_kind(rendered("everything"), "NetworkPolicy")
    for rule in [*everything["spec"]["egress"], *everything["spec"]["ingress"]]:
        assert rule.get("to") or rule.get("from"), rule
        assert rule["ports"], rule
    blocks = {
        peer["ipBlock"]["cidr"]
        for rule in everything["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer and rule["ports"][0]["port"] == 6443
    }
    assert blocks == {"203.0.113.10/32"}
    (postgresql,) = of_kind(rendered("postgresql"), "NetworkPolicy")
    assert 5432 in {port["port"] for rule in postgresql["spec"]["egress"] for port in rule["ports"]}


def test_a_collector_of_traces_is_reached_where_one_is_named() -> None:
    def ways(documents: list[Any]) -> list[Any]:
        (policy,) = of_kind(documents, "NetworkPolicy")
        return [
            rule["to"]
            for rule in policy["spec"]["egress"]
            if {"protocol": "TCP", "port": 4318} in rule["ports"]
        ]

    assert ways(rendered("default")) == []
    assert "STANCH_TRACES_ENDPOINT" not in environment_of(rendered("default"))
    collector = {"podSelector": {"matchLabels": {"app": "otel-collector"}}}
    assert ways(rendered("everything")) == [[collector]]
    named = environment_of(rendered("everything"))["STANCH_TRACES_ENDPOINT"]
    assert named == "http://otel-collector.monitoring:4318"


def test_policies_are_texts_and_stay_so() -> None:
    (found,) = [
        one
        for one in of_kind(rendered("everything"), "ConfigMap")
        if one["metadata"]["name"] == "stanch-policies"
    ]
    assert found["data"]["off.yaml"].startswith("# A text as it is: off, 012 and yes stay what they are.\n")
    volumes = pod_of(rendered("least"))["volumes"]
    assert {"name": "policies", "configMap": {"name": "stanch-policies"}} in volumes


@pytest.mark.parametrize(
    ("arguments", "case", "said"),
    [
        (["--set", "replicas=2"], "default", "/store/kind"),
        (["--set", "store.kind=postgresql"], "default", "/store/postgresql/secret"),
        (["--set", "store.kind=mysql"], "default", "/store/kind"),
        (["--set", "evidence.enabled=true"], "postgresql", "/evidence/accessMode"),
        (["--set", "policies.files.a\\.yaml.kind=Policy"], "default", "/policies/files/a.yaml"),
        (["--set", "policies.existingConfigMap=one"], "everything", "/policies/files"),
        (["--set", "people.tokenAudience="], "default", "/people/apiTokens/secret"),
        (["--set", "senders.tokens.secret="], "default", "/senders/users/secret"),
        (["--set", "security.standingSecret=one"], "default", "/security/keysConfigMap"),
        (["--set", "settings.STORE=postgresql://u:p@db/n"], "default", "STORE"),
        (["--set", "settings.RETENTION=7"], "default", "/settings/RETENTION"),
        (["--set", "traces.endpoint=collector:4318"], "default", "/traces/endpoint"),
        (["--set", "image.repository="], "default", "/image/repository"),
        (["--set", "image.tag=latest"], "default", "/image/tag"),
        (["--set", "runAs.user=0"], "default", "/runAs/user"),
        (["--set", "replica=2"], "default", "replica"),
    ],
)
def test_values_that_cannot_work_are_refused(arguments: list[str], case: str, said: str) -> None:
    sentence = refused(*arguments, case=case)
    assert said in sentence or said[1:].replace("/", ".") in sentence, sentence


def test_without_a_prometheus_it_is_not_installed_and_says_which_value_is_missing() -> None:
    for helm in HELMS:
        done = run(helm, "template", "stanch", CHART)
        assert done.returncode != 0
        assert "prometheus.url: name the Prometheus" in done.stderr


def test_another_release_has_names_of_its_own_everywhere() -> None:
    first = rendered("default")
    second = rendered("default", name="other", namespace="elsewhere")

    def places(documents: list[Document]) -> set[tuple[str, str, str]]:
        return {
            (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in documents
        }

    assert not places(first) & places(second)
    assert "system:serviceaccount:stanch:" not in json.dumps(second)
    assert environment_of(second)["STANCH_READER"] == "system:serviceaccount:elsewhere:other-stanch-reader"


def test_the_chart_is_of_the_release_and_names_no_registry() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert version is not None
    assert (chart["version"], chart["appVersion"]) == (version[1], version[1])
    (container,) = pod_of(rendered("default"))["containers"]
    assert container["image"] == f"stanch:{version[1]}"
    everything = pod_of(rendered("everything"))["containers"][0]["image"]
    assert re.fullmatch(r"stanch@sha256:[0-9a-f]{64}", everything)


def test_values_and_schema_know_the_same_names() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def resolved(part: Any) -> Any:
        reference = part.get("$ref")
        return schema["definitions"][reference.rsplit("/", 1)[-1]] if reference else part

    def compare(found: Any, part: Any, path: str) -> None:
        part = resolved(part)
        if "properties" not in part:
            return
        assert part.get("additionalProperties") is False, f"{path} takes anything"
        assert set(found) == set(part["properties"]) - {"global"}, path
        for name, inside in found.items():
            compare(inside, part["properties"][name], f"{path}/{name}")

    compare(values, schema, "")


def test_what_helm_prints_holds_nothing_that_is_empty() -> None:
    for case in CASES:
        for line in rendered_text(HELMS[-1], case).splitlines():
            assert not re.search(r":\s+(null|~)$|<no value>|<nil>", line), line
