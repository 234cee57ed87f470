"""From paths to tests: which files hold tests, which policies each is about, and every complaint about both.

A file of tests stands in a folder ``tests`` below the policies, or beside them; it is known by its kind. What
else stands in such a folder must be named by a test, or a slip in the kind would let tests vanish in silence.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from receiver.packaged import read_files, read_text, unreadable
from receiver.policy.complaints import Complaint, Severity, nearest
from receiver.policy.document import Document, ListNode, Node, ScalarNode, find, read
from receiver.policy.loading import COMPANIONS, KINDS, TEST_KIND, Loaded, load
from receiver.policy.model import PolicySet
from receiver.policy.promql import metrics_of
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.model import JsonObject, PolicyTestFile
from receiver.trials.policy_test.objects import read_objects
from receiver.trials.policy_test.reading import Known, policies_of, read_tests
from remediations import registry

TESTS_FOLDER = "tests"
OURS = "stanch/"
_KIND = re.compile(r"^kind:[ \t]*[\"']?(?P<kind>\w+)[\"']?[ \t\r]*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Opened:
    """A file of tests with the policies it is about, by path; ``policies`` None where those do not load.

    ``named`` are all files that it refers to; None where it cannot be read at all.
    """

    tests: PolicyTestFile
    texts: Mapping[str, str]
    policies: PolicySet | None
    complaints: tuple[Complaint, ...]
    named: frozenset[Path] | None = frozenset()

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


def check_all(path: Path) -> Checked | None:
    """Check the policies of a file or a folder, and the tests among them; None where there are no files.

    Raises OSError where a file cannot be read.
    """
    texts = policy_texts(path)
    loaded = _loaded(tuple(sorted(texts.items())))
    opened = [open_file(file) for file in test_files([path])] if path.is_dir() or not texts else []
    left_over = strays([path], opened)
    if not (texts or opened or left_over):
        return None
    complaints = (*loaded.complaints, *(one for file in opened for one in file.complaints), *left_over)
    return Checked(
        files=(*sorted(texts), *(file.tests.file for file in opened)),
        policies=0 if loaded.policies is None else len(loaded.policies.policies),
        tests=sum(len(file.tests.tests) for file in opened),
        complaints=tuple(dict.fromkeys(complaints)),
    )


def kind_of(content: str) -> str:
    """The kind that a file's text names; empty where it names none."""
    # Most files say it at the beginning of a line, and need not be parsed for it.
    if (quickly := _KIND.search(content)) is not None:
        return quickly["kind"]
    found = find(read("", content).root, ("kind",))
    return found[1].text if found is not None and isinstance(found[1], ScalarNode) else ""


def is_test(content: str) -> bool:
    """Whether a file's text says that it holds policy tests."""
    return TEST_KIND in content and kind_of(content) == TEST_KIND


def policy_texts(path: Path) -> dict[str, str]:
    """The policy files of a folder, or one file with what it leans on, by path. Raises OSError."""
    texts = {file: content for file, content in read_files(path).items() if not is_test(content)}
    return texts if path.is_dir() else _with_companions(texts)


def _with_companions(texts: Mapping[str, str]) -> dict[str, str]:
    """The same with the approvers, limits and the like of their folders, as far as no text is about those."""
    wanted = set(COMPANIONS).difference(map(kind_of, texts.values()))
    found = dict(texts)
    for folder in dict.fromkeys(Path(file).parent for file in texts):
        for path in _yaml_files(folder, below=False):
            # Nobody asked for these: one that cannot be read is not missed unless a name is.
            with contextlib.suppress(OSError):
                content = read_text(path)
                if kind_of(content) in wanted:
                    found.setdefault(str(path), content)
    return found


def test_files(paths: Iterable[Path]) -> list[Path]:
    """The files of tests among these files and below these folders. Raises OSError."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", str(path))
        found += [path] if path.is_file() else [one for one in _yaml_files(path) if is_test(read_text(one))]
    return list(dict.fromkeys(found))


def strays(paths: Iterable[Path], opened: Sequence[Opened]) -> tuple[Complaint, ...]:
    """Complaints about what stands in folders of tests, is no test, and is named by none. Raises OSError."""
    found: list[Complaint] = []
    # Where a test cannot be read, nobody knows which files it names.
    all_read = all(file.named is not None for file in opened)
    named = frozenset(one for file in opened for one in file.named or ())
    for path in paths:
        for file in _yaml_files(path) if path.is_dir() else ():
            content = read_text(file)
            if _among_tests(path, file) and not is_test(content) and file.resolve() not in named:
                found += _stray(read(str(file), content), all_read)
    return tuple(dict.fromkeys(found))


def _stray(document: Document, all_read: bool) -> list[Complaint]:
    if document.root is None:
        return document.complaints
    document.complaints.clear()
    kind, version = (find(document.root, (key,)) for key in ("kind", "apiVersion"))
    said = "" if kind is None or not isinstance(kind[1], ScalarNode) else kind[1].text
    ours = version is not None and isinstance(version[1], ScalarNode) and version[1].text.startswith(OURS)
    at = document.root if kind is None else kind[1]
    if said in KINDS:
        message = f"kind {said} is left out in a folder of tests"
        document.complain(at, message, f"did you mean {TEST_KIND}? If not, move the file out of the folder")
    elif ours or nearest(said, [TEST_KIND]):
        message = f'kind "{said}" is not known' if said else 'field "kind" is missing in the file'
        document.complain(at, message, f'did you mean "{TEST_KIND}"?' if said else f"add kind: {TEST_KIND}")
    elif all_read:
        hint = f"name it with cluster: in a test, write kind: {TEST_KIND}, or remove it"
        document.complain(at, "no test names this file", hint)
    return document.complaints


def _yaml_files(folder: Path, *, below: bool = True) -> list[Path]:
    """The YAML files in a folder, hidden ones left out; in those below it too, if asked."""
    found = [one for end in ("*.yaml", "*.yml") for one in (folder.rglob if below else folder.glob)(end)]
    return [one for one in sorted(found) if not _hidden(one.relative_to(folder))]


def _among_tests(folder: Path, file: Path) -> bool:
    return folder.absolute().name == TESTS_FOLDER or TESTS_FOLDER in file.relative_to(folder).parts[:-1]


def open_file(path: Path, *, instead: Mapping[str, str] | None = None) -> Opened:
    """Read one file of tests and the policies it names; ``instead`` replaces policy texts by their path.

    Raises OSError where a file cannot be read.
    """
    document = read(str(path), read_text(path))
    texts = {**_policies_of(path, document), **(instead or {})}
    loaded = _loaded(tuple(sorted(texts.items())))
    tests = read_tests(document, _known(path, loaded))
    # What is wrong with a default is found once for each test.
    complaints = dict.fromkeys(sorted(document.complaints, key=lambda one: (one.line, one.column)))
    named = {*map(Path, texts), *_clusters(path, document)}
    return Opened(
        tests,
        texts,
        loaded.policies,
        (*loaded.complaints, *complaints),
        None if document.root is None else frozenset(one.resolve() for one in named),
    )


def _clusters(path: Path, document: Document) -> Iterator[Path]:
    """The cluster files that a file of tests names, told from its tree: also where a test has a mistake."""
    tests = find(document.root, ("tests",))
    count = len(tests[1].items) if tests is not None and isinstance(tests[1], ListNode) else 0
    for place in (("defaults",), *(("tests", number) for number in range(count))):
        found = find(document.root, (*place, "cluster"))
        nodes: Sequence[Node] = () if found is None else (found[1],)
        for node in nodes[0].items if nodes and isinstance(nodes[0], ListNode) else nodes:
            if isinstance(node, ScalarNode):
                yield path.parent / node.text


@lru_cache(maxsize=32)
def _loaded(texts: tuple[tuple[str, str], ...]) -> Loaded:
    # Several files of tests are about the same policies, and checking those takes longer than playing a test.
    return load(dict(texts), catalogue=registry.catalogue(), probe_facts=FACTS)


def _policies_of(path: Path, document: Document) -> dict[str, str]:
    named = policies_of(document)
    if not named:
        return policy_texts(_policies_folder(path))
    texts: dict[str, str] = {}
    for node, name in named:
        try:
            texts[str(path.parent / name)] = read_text(path.parent / name)
        except OSError as error:
            document.complain(node, f"it cannot be read: {unreadable(error)}")
    return _with_companions(texts)


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
                fetched[name] = read_objects(str(file), read_text(file))
            except OSError as error:
                fetched[name] = f"it cannot be read: {unreadable(error)}"
        return fetched[name]

    policies = None if loaded.policies is None else loaded.policies.policies
    if policies is None:
        return Known(registry.catalogue(), None, None, objects)
    queries = {name for policy in policies for name in policy.queries}
    read_by = [metrics_of(query) for policy in policies for query in policy.queries.values()]
    metrics = None if None in read_by else {name for names in read_by for name in names or ()}
    return Known(registry.catalogue(), queries, metrics, objects)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
