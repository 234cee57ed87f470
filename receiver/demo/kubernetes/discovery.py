"""What the API server tells about itself: versions, groups, resources, and a sliver of OpenAPI.

Plain discovery only: kubectl asks for the aggregated form first and takes this when it gets this.
"""

from __future__ import annotations

from receiver.demo.kubernetes.resources import (
    ALL_VERBS,
    RESOURCES,
    REVIEWS,
    SUBRESOURCE_VERBS,
    JsonObject,
    Resource,
    group_versions,
)

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.3",
    "gitCommit": "$Format:%H$",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.6",
    "compiler": "gc",
    "platform": "linux/amd64",
}


def answer(path: str, host: str) -> JsonObject | None:
    """The body for a discovery path; None if ``path`` is none of ours."""
    if path == "/version":
        return dict(VERSION)
    if path == "/api":
        where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()}
    if path == "/openapi/v3":
        return {
            "paths": {_root(g, v)[1:]: {"serverRelativeURL": f"/openapi/v3{_root(g, v)}"} for g, v in _all()}
        }
    for group, version in _all():
        if path == _root(group, version):
            return _resource_list(group, version)
        if path == f"/openapi/v3{_root(group, version)}":
            return _openapi(group, version)
        if group and path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, [version])}
    return None


def _all() -> list[tuple[str, str]]:
    return group_versions()


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def _groups() -> list[JsonObject]:
    versions: dict[str, list[str]] = {}
    for group, version in group_versions():
        if group:
            versions.setdefault(group, []).append(version)
    return [_group(group, each) for group, each in versions.items()]


def _group(group: str, versions: list[str]) -> JsonObject:
    each = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": each, "preferredVersion": each[0]}


def _resource_list(group: str, version: str) -> JsonObject:
    entries: list[JsonObject] = []
    for resource in RESOURCES:
        if (resource.group, resource.version) == (group, version):
            entries += _entries(resource)
    for plural, kind in REVIEWS.get((group, version), ()):
        entries.append(
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": False,
                "kind": kind,
                "verbs": ["create"],
            }
        )
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": entries,
    }


def _entries(resource: Resource) -> list[JsonObject]:
    main: JsonObject = {
        "name": resource.plural,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(ALL_VERBS),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    if resource.storage_hash:
        main["storageVersionHash"] = resource.storage_hash
    return [main, *(_subresource(resource, name) for name in resource.subresources)]


def _subresource(resource: Resource, name: str) -> JsonObject:
    entry: JsonObject = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(SUBRESOURCE_VERBS),
    }
    if name == "scale":
        entry |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    elif name == "eviction":
        entry |= {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]}
    elif name == "log":
        entry["verbs"] = ["get"]
    return entry


def _openapi(group: str, version: str) -> JsonObject:
    """Just enough for kubectl to learn that the server checks fields itself."""
    paths: JsonObject = {}
    names = ("dryRun", "fieldManager", "fieldValidation")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    for resource in RESOURCES:
        if (resource.group, resource.version) != (group, version):
            continue
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        path = f"{_root(group, version)}{scope}/{resource.plural}/{{name}}"
        kind = {"group": group, "version": version, "kind": resource.kind}
        paths[path] = {
            "patch": {
                "parameters": parameters,
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
                "responses": {},
            }
        }
    info = {"title": "Kubernetes", "version": "v1.36.3"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
