"""What docs/install.md says to type works: real helm and kubectl take it, and its names fit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from chart_files import CHART, printed
from chart_rendering import HELMS, Document, environment_of, of_kind, pod_of, run

from receiver import packaged
from receiver.web.authentication import TokenFile

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def lines(program: str) -> list[list[str]]:
    """The page's commands of this program, as words."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.S | re.M)
    found = [shlex.split(line) for kind, block in blocks if not kind for line in block.splitlines()]
    return [words for words in found if words[0] == program]


def made(folder: Path, words: list[str]) -> Document:
    """What a `kubectl create` makes, without a cluster."""
    given = [
        word.replace("=", f"={folder}/") if word.startswith("--from-file=") else word for word in words[1:]
    ]
    done = run("kubectl", *given, "--dry-run=client", "--output", "yaml")
    assert done.returncode == 0, done.stderr
    document: Document = yaml.safe_load(done.stdout)
    return document


def installed(helm: str, folder: Path, words: list[str]) -> list[Document]:
    """What a `helm upgrade` of the page would put into the cluster."""
    (values,) = re.findall(r"```yaml\n# values.yaml\n(.*?)```", PAGE, re.S)
    (folder / "values.yaml").write_text(values, encoding="utf-8")
    (folder / "roles.yaml").write_text(printed("rbac"), encoding="utf-8")
    given = [word for word in words[2:] if word != "--install"]
    place = [
        word.replace("rbac.roles=", f"rbac.roles={folder}/")
        if word.startswith("rbac.roles=")
        else str(folder / "values.yaml")
        if word == "values.yaml"
        else str(CHART)
        if word == "deploy/helm/stanch"
        else word
        for word in given
    ]
    done = run(helm, "template", *place)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("number", range(3))
def test_helm_takes_each_of_its_lines(helm: str, number: int, tmp_path: Path) -> None:
    commands = [words for words in lines("helm") if words[1] == "upgrade"]
    assert len(commands) == 3
    documents = installed(helm, tmp_path, commands[number])
    (deployment,) = of_kind(documents, "Deployment")
    assert (deployment["metadata"]["namespace"], deployment["metadata"]["name"]) == ("stanch", "stanch")


def test_the_secrets_that_it_makes_are_those_that_the_pod_asks_for(tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    for words in lines("python3"):
        run_python(words, folder)
    secrets = [
        made(folder, words) for words in lines("kubectl") if words[1:4] == ["create", "secret", "generic"]
    ]
    keys = {(one["metadata"]["namespace"], one["metadata"]["name"]): set(one["data"]) for one in secrets}
    commands = [words for words in lines("helm") if words[1] == "upgrade"]
    first = installed("helm4", folder, commands[0])
    asked = {
        (volume["secret"]["secretName"], environment_of(first)[name].rsplit("/", 1)[-1])
        for volume in pod_of(first)["volumes"]
        if "secret" in volume
        for name, value in environment_of(first).items()
        if isinstance(value, str) and value.startswith(f"/etc/stanch/{volume['name']}/")
    }
    assert asked == {("stanch-webhook", "token"), ("stanch-people", "api-tokens.yaml")}
    assert all(key in keys["stanch", name] for name, key in asked)
    # The same token is Alertmanager's.
    assert keys["monitoring", "stanch-webhook"] == keys["stanch", "stanch-webhook"]
    postgresql = environment_of(installed("helm4", folder, commands[2]))["STANCH_STORE"]["secretKeyRef"]
    assert postgresql["key"] in keys["stanch", postgresql["name"]]
    assert "\n" not in (folder / "token").read_text(encoding="utf-8")


def run_python(words: list[str], folder: Path) -> None:
    """One line that writes a file by Python."""
    *command, arrow, name = words
    assert arrow == ">"
    done = run(*command)
    assert done.returncode == 0, done.stderr
    (folder / name).write_text(done.stdout, encoding="utf-8")


async def test_the_people_that_it_names_are_let_in(tmp_path: Path) -> None:
    (words,) = [words for words in lines("python3") if words[-1] == "api-tokens.yaml"]
    run_python(words, tmp_path)
    (person,) = yaml.safe_load((tmp_path / "api-tokens.yaml").read_text("utf-8"))
    identity = await TokenFile(tmp_path / "api-tokens.yaml").who(person["token"])
    assert identity is not None
    assert (identity.name, identity.groups) == ("carol", ("oncall", "sre"))


def test_the_policies_that_it_puts_into_a_configmap_fit(tmp_path: Path) -> None:
    (words,) = [words for words in lines("kubectl") if words[1:3] == ["create", "configmap"]]
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    found = made(tmp_path, words)
    names = {path.name for path in packaged.policies().glob("*.yaml")}
    assert set(found["data"]) == names
    # Kubernetes keeps no larger one.
    assert sum(map(len, found["data"].values())) < 1024 * 1024
