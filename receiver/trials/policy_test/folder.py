"""From paths to tests: which files hold tests, which policies each is about, and every complaint about both.

A file of tests stands in a folder ``tests`` below the policies, or beside them; it is known by its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from receiver.packaged import read_files
from receiver.policy.complaints import Complaint, Severity
from receiver.policy.document import Document, read
from receiver.policy.loading import TEST_KIND, Loaded, load
from receiver.policy.model import PolicySet
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.model import JsonObject, PolicyTestFile
from receiver.trials.policy_test.objects import read_objects
from receiver.trials.policy_test.reading import Known, policies_of, read_tests
from remediations import registry

TESTS_FOLDER = "tests"
_KIND = re.compile(rf"^kind:\s*[\"']?{TEST_KIND}[\"']?\s*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Opened:
    """A file of tests with the policies it is about, by path; ``policies`` None where those do not load."""

    tests: PolicyTestFile
    texts: Mapping[str, str]
    policies: PolicySet | None
    complaints: tuple[Complaint, ...]

    @property
    def sound(self) -> bool:
        """Whether it can be played."""
        return self.policies is not None and not any(
            complaint.severity is Severity.ERROR for complaint in self.complaints
        )


@dataclass(frozen=True)
class Checked:
    """What `policy check` found in a file or a folder: how much there is, and every complaint."""

    files: tuple[str, ...]
    policies: int
    tests: int
    complaints: tuple[Complaint, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing keeps it from being used."""
        return not any(complaint.severity is Severity.ERROR for complaint in self.complaints)


def check_all(path: Path) -> Checked:
    """Check the policies of a file or a folder, and the tests among them.

    Raises OSError and UnicodeDecodeError where a file cannot be read.
    """
    texts = {file: content for file, content in read_files(path).items() if not is_test(content)}
    loaded = _loaded(tuple(sorted(texts.items())))
    opened = [open_file(file) for file in test_files([path])] if path.is_dir() or not texts else []
    complaints = dict.fromkeys((*loaded.complaints, *(one for file in opened for one in file.complaints)))
    return Checked(
        files=(*sorted(texts), *(file.tests.file for file in opened)),
        policies=0 if loaded.policies is None else len(loaded.policies.policies),
        tests=sum(len(file.tests.tests) for file in opened),
        complaints=tuple(complaints),
    )


def is_test(content: str) -> bool:
    """Whether a file's text says that it holds policy tests."""
    return _KIND.search(content) is not None


def test_files(paths: Iterable[Path]) -> list[Path]:
    """The files of tests among these files and below these folders. Raises OSError and UnicodeDecodeError."""
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        candidates = sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")])
        seen = [one for one in candidates if not _hidden(one.relative_to(path))]
        found += [one for one in seen if is_test(one.read_text(encoding="utf-8"))]
    return list(dict.fromkeys(found))


def open_file(path: Path, *, instead: Mapping[str, str] | None = None) -> Opened:
    """Read one file of tests and the policies it names; ``instead`` replaces policy texts by their path.

    Raises OSError and UnicodeDecodeError where a file cannot be read.
    """
    document = read(str(path), path.read_text(encoding="utf-8"))
    texts = {**_policy_texts(path, document), **(instead or {})}
    loaded = _loaded(tuple(sorted(texts.items())))
    tests = read_tests(document, _known(path, loaded))
    # What is wrong with a default is found once for each test.
    complaints = dict.fromkeys(sorted(document.complaints, key=lambda one: (one.line, one.column)))
    return Opened(tests, texts, loaded.policies, (*loaded.complaints, *complaints))


@lru_cache(maxsize=32)
def _loaded(texts: tuple[tuple[str, str], ...]) -> Loaded:
    # Several files of tests are about the same policies, and checking those takes longer than playing a test.
    return load(dict(texts), catalogue=registry.catalogue(), probe_facts=FACTS)


def _policy_texts(path: Path, document: Document) -> dict[str, str]:
    named = policies_of(document)
    if not named:
        found = read_files(_policies_folder(path))
        return {file: content for file, content in found.items() if not is_test(content)}
    texts: dict[str, str] = {}
    for node, name in named:
        policy = path.parent / name
        try:
            texts[str(policy)] = policy.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            document.complain(node, f"{policy} cannot be read: {_why(error)}")
    return texts


def _policies_folder(path: Path) -> Path:
    """The folder above ``tests``, or the file's own."""
    for parent in (path.parent, path.absolute().parent):
        if parent.name == TESTS_FOLDER:
            return parent.parent
    return path.parent


def _known(path: Path, loaded: Loaded) -> Known:
    fetched: dict[str, tuple[JsonObject, ...] | str] = {}

    def objects(name: str) -> tuple[JsonObject, ...] | str:
        if name not in fetched:
            file = path.parent / name
            try:
                fetched[name] = read_objects(str(file), file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                fetched[name] = f"{file} cannot be read: {_why(error)}"
        return fetched[name]

    policies = None if loaded.policies is None else loaded.policies.policies
    queries = None if policies is None else {name for policy in policies for name in policy.queries}
    return Known(registry.catalogue(), queries, objects)


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
