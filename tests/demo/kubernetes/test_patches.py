"""The three kinds of patch, by example."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.demo.kubernetes.patches import (
    DoesNotApplyError,
    MalformedPatchError,
    json_patch,
    merge_patch,
    strategic_merge,
)

TWO: dict[str, Any] = {
    "containers": [{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]
}


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        pytest.param(
            {"op": "add", "path": "/l/1", "value": 9}, {"l": [1, 9, 2], "m": {}}, id="add in a list"
        ),
        pytest.param(
            {"op": "add", "path": "/l/-", "value": 9}, {"l": [1, 2, 9], "m": {}}, id="add at the end"
        ),
        pytest.param({"op": "replace", "path": "/l/0", "value": 9}, {"l": [9, 2], "m": {}}, id="replace"),
        pytest.param({"op": "remove", "path": "/l/0"}, {"l": [2], "m": {}}, id="remove"),
        pytest.param({"op": "test", "path": "/l/0", "value": 1}, {"l": [1, 2], "m": {}}, id="test"),
        pytest.param({"op": "move", "from": "/l", "path": "/m/l"}, {"m": {"l": [1, 2]}}, id="move"),
        pytest.param({"op": "copy", "from": "/l/0", "path": "/n"}, {"l": [1, 2], "m": {}, "n": 1}, id="copy"),
        pytest.param(
            {"op": "add", "path": "/m/a~1b~0c", "value": 1}, {"l": [1, 2], "m": {"a/b~c": 1}}, id="~"
        ),
    ],
)
def test_each_operation_of_a_json_patch(operation: dict[str, Any], result: dict[str, Any]) -> None:
    before = {"l": [1, 2], "m": {}}
    assert json_patch(before, [operation]) == result
    assert before == {"l": [1, 2], "m": {}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "add", "path": "/no/where", "value": 2},
        {"op": "replace", "path": "/none", "value": 2},
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/l/5", "value": 2},
    ],
)
def test_a_json_patch_applies_whole_or_not_at_all(operation: dict[str, Any]) -> None:
    with pytest.raises(DoesNotApplyError):
        json_patch({"a": 1, "l": []}, [{"op": "replace", "path": "/a", "value": 1}, operation])


@pytest.mark.parametrize("patch", [{"op": "test"}, [{"op": "explode", "path": "/a"}], [{"path": "a"}], ["x"]])
def test_what_is_no_json_patch_is_said_to_be_none(patch: Any) -> None:
    with pytest.raises(MalformedPatchError):
        json_patch({"a": 1}, patch)


def test_a_merge_patch_merges_maps_and_replaces_lists() -> None:
    patched = merge_patch({"a": {"x": 1, "y": 2}, "l": [1, 2]}, {"a": {"x": None, "z": 3}, "l": [3]})
    assert patched == {"a": {"y": 2, "z": 3}, "l": [3]}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        pytest.param(
            {"containers": [{"name": "a", "image": "a:2"}]},
            {"containers": [{**TWO["containers"][0], "image": "a:2"}, {"name": "b"}]},
            id="one item by its key",
        ),
        pytest.param(
            {"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}]},
            {"containers": [{"name": "a", "image": "a:1", "env": []}, {"name": "b"}]},
            id="delete one item",
        ),
        pytest.param(
            {"containers": [{"$patch": "replace"}, {"name": "c"}]},
            {"containers": [{"name": "c"}]},
            id="replace the list",
        ),
        pytest.param(
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": []},
            {"containers": [{"name": "b"}, TWO["containers"][0]]},
            id="order",
        ),
        pytest.param({"$patch": "replace", "x": 1}, {"x": 1}, id="replace the map"),
        pytest.param({"$patch": "delete"}, {}, id="delete the map"),
        pytest.param({"$retainKeys": ["x"], "x": 1}, {"x": 1}, id="retain keys"),
        pytest.param({"tolerations": [1]}, {**TWO, "tolerations": [1]}, id="a list without a key"),
    ],
)
def test_a_strategic_merge_knows_the_keys_of_lists(patch: dict[str, Any], result: dict[str, Any]) -> None:
    assert strategic_merge(TWO, patch) == result


def test_a_strategic_merge_needs_the_key() -> None:
    with pytest.raises(MalformedPatchError):
        strategic_merge(TWO, {"containers": [{"image": "a:2"}]})
