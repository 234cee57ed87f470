"""The Dockerfile: what it copies is there and enough, and what it runs makes the command.

No image is built here, which takes a container runtime and a network. Its own lines are run instead, without
the one that installs the lock: in its place stands what was installed for these tests.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest
from chart_rendering import pod_of, rendered, run

from receiver.settings import PREFIX

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
NOW = "1700000000"


@cache
def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, words.strip()) for name, _, words in found]


def copied() -> set[str]:
    """What is copied out of the repository."""
    return {
        source
        for name, words in instructions()
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    }


def last(wanted: str) -> str:
    """The words of the last instruction of this name."""
    return [words for name, words in instructions() if name == wanted][-1]


def test_hadolint_has_nothing_to_say() -> None:
    done = run("hadolint", "--no-color", "--failure-threshold", "style", ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_would_say_something(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text(DOCKERFILE.replace("USER 10001:10001", "RUN sudo pip install stanch"), encoding="utf-8")
    assert run("hadolint", worse).returncode != 0


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line[1:] for line in rules if line.startswith("!")} == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_the_image_is_of_debian_not_root_and_names_no_host() -> None:
    base = next(words for name, words in instructions() if name == "ARG")
    image = base.removeprefix("PYTHON_IMAGE=")
    assert re.fullmatch(r"python:3\.\d+-slim", image)
    assert {words.split()[0] for name, words in instructions() if name == "FROM"} == {"${PYTHON_IMAGE}"}
    assert "://" not in DOCKERFILE
    user = last("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    pod = pod_of(rendered("default"))["securityContext"]
    assert user == f"{pod['runAsUser']}:{pod['runAsGroup']}"


def test_everything_that_is_installed_is_locked() -> None:
    installs = [
        command
        for name, words in instructions()
        if name == "RUN"
        for command in words.split("&&")
        if " install " in command
    ]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--no-index --no-deps --no-build-isolation" in installs[1]
    # A variable of ours would be a setting.
    assert not any(PREFIX in words for name, words in instructions() if name == "ENV")


def test_it_has_what_sends_traces() -> None:
    """So that the chart's value alone switches them on."""
    assert "\nopentelemetry-exporter-otlp-proto-http==" in (ROOT / "requirements.lock").read_text("utf-8")


def built(folder: Path) -> tuple[Path, str]:
    """The folder that becomes the image's, by the Dockerfile's own commands, and a hash of what is in it.

    Where it is built is written into it, so that is the same place each time.
    """
    context, place = folder / "build", folder / "opt"
    for old in (context, place):
        shutil.rmtree(old, ignore_errors=True)
    context.mkdir()
    if not (folder / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "pip"], check=True, timeout=120)
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, context / source, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*")
            )
        else:
            shutil.copy(ROOT / source, context / source)
    first, second = (words for name, words in instructions() if name == "RUN")
    commands = [first.split("&&")[0], *second.split("&&")]
    pip = f"{folder / 'pip' / 'bin' / 'python'} -m pip --quiet --disable-pip-version-check "
    for number, command in enumerate(commands):
        if "uninstall" in command:
            # They are those of the tests.
            continue
        line = command.strip().replace("/opt/stanch", str(place)).replace("${SOURCE_DATE_EPOCH}", NOW)
        line = re.sub(r"^pip ", pip, re.sub(r"^python ", f"{sys.executable} ", line))
        environment = {"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": NOW, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            ["sh", "-c", line], cwd=context, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if number == 0:
            (packages,) = place.glob("lib/python*/site-packages")
            (packages / "locked.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    found = hashlib.sha256()
    for path in sorted(place.rglob("*")):
        found.update(f"{path.relative_to(place)} {int(path.lstat().st_mtime)}".encode())
        if path.is_file() and not path.is_symlink():
            found.update(path.read_bytes())
    return place, found.hexdigest()


@pytest.mark.long
def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    assert built(tmp_path)[1] == built(tmp_path)[1]


def test_its_own_lines_make_the_command(tmp_path: Path) -> None:
    place, _ = built(tmp_path)
    (packages,) = place.glob("lib/python*/site-packages")
    assert (packages / "receiver" / "_policies" / "greenlang" / "limits.yaml").is_file()
    assert list((packages / "receiver" / "__pycache__").glob("app.*.pyc"))
    assert last("ENTRYPOINT") == '["stanch"]' and last("CMD") == '["serve"]'
    for arguments in (["serve", "--help"], ["policy", "check", "--output", "json"]):
        done = subprocess.run(
            [str(place / "bin" / "stanch"), *arguments],
            cwd="/",
            env={"PATH": "/usr/bin"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    origin = [str(place / "bin" / "python"), "-P", "-c", "import receiver; print(receiver.__file__)"]
    printed = subprocess.run(origin, cwd="/", env={}, capture_output=True, text=True, check=True).stdout
    assert printed.startswith(str(packages))
