"""Taking a capture: all is asked for, what comes is kept, what does not is a gap, and then it is sealed.

Nothing here raises for what the cluster or the disk does: a capture that got nothing says so. It ends at its
deadline with what is there. The disk is written in threads of its own, so that one that hangs holds up
neither intake nor other incidents.
"""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from receiver.domain.durations import in_words
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.domain.events import EvidenceSealed
from receiver.domain.plans import ObjectRef
from receiver.domain.remediation import ClusterReader
from receiver.evidence.manifest import MANIFEST, Gap, Kept, Manifest, differences, gap
from receiver.evidence.names import joined
from receiver.evidence.selection import (
    RBAC,
    Container,
    Document,
    PodName,
    Subject,
    Targets,
    account_of,
    concerned,
    containers_of,
    controller_of,
    images_of,
    redacted,
    roles_of,
    targets,
    without_values,
)
from receiver.evidence.vault import Capture, Vault, Writing

T = TypeVar("T")

NOTHING_KEPT = "no evidence is kept: STANCH_EVIDENCE_DIR names no folder"
NOT_TAKEN = "the evidence folder does not take it"
# Many pods are read side by side; more would be felt by the API server.
PARALLEL = 4
# Sentences of gaps in the timeline; the manifest has them all.
GAPS_TOLD = 20


class EvidenceReader(ClusterReader, Protocol):
    """The door to the cluster, as far as evidence needs it."""

    def log_blocks(
        self,
        namespace: str,
        pod: str,
        *,
        container: str,
        previous: bool,
        limit_bytes: int,
        tail_lines: int | None = None,
    ) -> AsyncGenerator[bytes]:
        """The log of one container, block by block, each line with its time."""


@dataclass(frozen=True)
class Limits:
    """How much one capture takes. A log that is larger than ``log_bytes`` is kept from its start and, by its
    last ``newest_lines``, from its end: the beginning cannot be pushed out by whoever writes a lot, and the
    newest is what happens now.
    """

    deadline: timedelta = timedelta(seconds=60)
    pods: int = 20
    objects: int = 500
    log_bytes: int = 4 * 1024 * 1024
    total_bytes: int = 64 * 1024 * 1024
    # What logs leave of that for everything else.
    reserved_bytes: int = 16 * 1024 * 1024
    newest_lines: int = 2000
    # A container that says a word a second must not take the time of all others.
    log_time: timedelta = timedelta(seconds=15)
    # A disk that takes longer for one file is not there; for all of them, read again, it may.
    disk_time: timedelta = timedelta(seconds=10)
    seal_time: timedelta = timedelta(seconds=30)


class Evidence:
    """How this service keeps evidence; without a vault it keeps none, and says so each time."""

    def __init__(self, vault: Vault | None = None, limits: Limits | None = None) -> None:
        self._vault = vault
        self._limits = limits or Limits()
        self._threads = ThreadPoolExecutor(PARALLEL + 1, "evidence")

    async def capture(
        self,
        subject: Subject,
        cluster: EvidenceReader,
        *,
        now: Callable[[], datetime],
        on_progress: Callable[[], None],
    ) -> EvidenceSealed:
        """Read, keep and seal; what was sealed before a crash is not taken again.

        ``on_progress`` is called after every answer. Takes the deadline and, where the disk is slow, a
        minute more at most.
        """
        if self._vault is None:
            return _nothing(subject, "", NOTHING_KEPT)
        try:
            earlier = await self._do(partial(_earlier, self._vault, subject))
            if isinstance(earlier, EvidenceSealed):
                return earlier
            capture = await self._do(partial(self._vault.begin, subject.incident, _stem(subject)))
        except OSError as error:
            return _nothing(subject, "", f"{NOT_TAKEN}: {_said(error)}")
        taking = _Taking(subject, capture, cluster, self._limits, self._do, on_progress)
        taking.gaps += earlier
        begun = now()
        await taking.until_deadline()
        try:
            sealing = partial(taking.seal, begun=begun, ended=now())
            manifest, digest = await self._do(sealing, self._limits.seal_time)
        except OSError as error:
            gaps = [gap(MANIFEST, f"it could not be written: {_said(error)}"), *taking.gaps]
            return replace(_nothing(subject, capture.name, ""), gaps=_told(gaps))
        on_progress()
        try:
            wrong = await self._do(partial(_read_again, capture, manifest), self._limits.seal_time)
        except OSError as error:
            wrong = (f"not read again: {_said(error)}",)
        return _sealed(manifest, digest, wrong)

    async def _do(self, call: Callable[[], T], most: timedelta | None = None) -> T:
        """Run in a thread, for so long as a disk may take. Raises OSError where it takes longer."""
        seconds = (most or self._limits.disk_time).total_seconds()
        running = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            done, _ = await asyncio.wait({running}, timeout=seconds)
        except asyncio.CancelledError:
            # A thread that runs already goes on; what it finds out nobody waits for.
            running.cancel()
            raise
        if not done:
            running.cancel()
            raise OSError(errno.ETIMEDOUT, f"it did not answer in {seconds:g} s")
        return running.result()


class _Taking:
    """One capture while it is taken."""

    def __init__(
        self,
        subject: Subject,
        capture: Capture,
        cluster: EvidenceReader,
        limits: Limits,
        do: Callable[[Callable[[], Any]], Awaitable[Any]],
        on_progress: Callable[[], None],
    ) -> None:
        self.gaps: list[Gap] = []
        self._subject = subject
        self._capture = capture
        self._cluster = cluster
        self._limits = limits
        self._do = do
        self._on_progress = on_progress
        self._left = limits.total_bytes
        # Once it is being sealed no file is begun, whoever comes late.
        self._creating = threading.Lock()
        self._sealing = False
        self._side_by_side = asyncio.Semaphore(PARALLEL)
        # Everything that was begun on the disk, whatever became of it: the manifest names it all.
        self._writings: dict[str, Writing] = {}
        self._kept: dict[str, Kept] = {}
        self._todo: dict[str, None] = {}
        self._seen: set[str] = set()
        self._containers: dict[PodName, tuple[Container, ...]] = {}
        self._images: list[dict[str, str]] = []
        self._accounts: dict[str, set[str]] = {}

    async def until_deadline(self) -> None:
        """Look at everything; what was not looked at by the deadline is a gap."""
        deadline = self._limits.deadline
        try:
            async with asyncio.timeout(deadline.total_seconds()):
                await self._everything()
        except TimeoutError:
            why = f"not read, or in part, by the deadline of {in_words(deadline)}"
            self.gaps += [gap(what, why) for what in self._todo or ("the rest",)]

    async def _everything(self) -> None:
        """Manifests before logs: they are small, and say what the rest is about."""
        found = targets(self._subject)
        self.gaps += found.gaps
        self._todo = dict.fromkeys(f"pods of {namespace}" for namespace in found.namespaces)
        chosen = await self._chosen(found)
        namespaces = dict.fromkeys([*(pod.namespace for pod in chosen), *found.namespaces])
        pods = {str(pod.ref): partial(self._of_pod, pod) for pod in chosen}
        around = {f"namespace {name}": partial(self._of_namespace, name) for name in namespaces}
        around |= {f"node {name}": partial(self._of_node, name) for name in found.nodes}
        logs = {f"logs of {pod.ref}": partial(self._of_logs, pod) for pod in chosen}
        self._todo = dict.fromkeys([*pods, *around, *logs])
        await self._each(pods)
        await self._each({**around, **logs})
        await self._write("images.json", "what the pods' containers run", self._images)

    async def _each(self, parts: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        async def one(what: str, look: Callable[[], Awaitable[None]]) -> None:
            async with self._side_by_side:
                with self._understood(what):
                    await look()
                self._todo.pop(what, None)

        async with asyncio.TaskGroup() as group:
            for what, look in parts.items():
                group.create_task(one(what, look), name=f"evidence: {what}")

    @contextmanager
    def _understood(self, what: str) -> Iterator[None]:
        """Around what reads answers: one of a shape that no API server gives costs no other part."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self.gaps.append(gap(what, f"the answer is not understood: {type(error).__name__}"))

    async def _chosen(self, found: Targets) -> list[PodName]:
        """The pods to look at: those that are named first, then those that the scopes cover."""
        pods = dict.fromkeys(found.pods)
        for namespace in found.namespaces:
            with self._understood(f"pods of {namespace}"):
                listed = await self._listed("v1", "Pod", namespace)
                pods |= dict.fromkeys(sorted(concerned(listed or [], self._subject.scopes)))
        if not pods:
            self.gaps.append(gap("pods", "none is named by an alert or found where it is locked"))
        chosen = list(pods)
        if more := chosen[self._limits.pods :]:
            names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in more)
            self.gaps.append(gap(f"{len(more)} pods", f"{self._limits.pods} are looked at: not {names}"))
        return chosen[: self._limits.pods]

    # -- what is looked at

    async def _of_pod(self, pod: PodName) -> None:
        found = await self._object(pod.ref, joined(*_place(pod), "pod.json"))
        if found is None:
            return
        self._images += images_of(found)
        self._containers[pod] = containers_of(found)
        await self._controllers(found, pod.namespace)
        account = account_of(found)
        self._accounts.setdefault(pod.namespace, set()).add(account)
        await self._once(ObjectRef("v1", "ServiceAccount", pod.namespace, account))
        if node := found.get("spec", {}).get("nodeName"):
            await self._once(ObjectRef("v1", "Node", "", str(node)))

    async def _controllers(self, found: Document, namespace: str) -> None:
        """Up from a pod to its ReplicaSet and Deployment."""
        while (controller := controller_of(found)) is not None:
            kind, name = controller
            if kind not in ("ReplicaSet", "Deployment"):
                self.gaps.append(gap(f"{kind} {namespace}/{name}", "objects of this kind are not read"))
                return
            above = await self._once(ObjectRef("apps/v1", kind, namespace, name))
            if above is None:
                return
            found = above

    async def _of_namespace(self, namespace: str) -> None:
        place = ("namespaces", namespace)
        for api_version, kind, file in (
            ("v1", "Event", "events.json"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies.json"),
            (RBAC, "RoleBinding", "rolebindings.json"),
            ("v1", "Secret", "secrets.json"),
            ("v1", "ConfigMap", "configmaps.json"),
        ):
            listed = await self._listed(api_version, kind, namespace)
            if listed is None:
                continue
            shown = [without_values(one) for one in listed] if kind in ("Secret", "ConfigMap") else listed
            source = f"list {kind} in {namespace}"
            more = len(listed) >= self._limits.objects
            await self._write(joined(*place, file), source, shown, truncated=more)
            if kind == "RoleBinding":
                await self._roles(listed, namespace)

    async def _roles(self, bindings: list[dict[str, Any]], namespace: str) -> None:
        accounts = frozenset(self._accounts.get(namespace, ()))
        for name, kind in roles_of(bindings, namespace, accounts).items():
            if kind == "Role":
                await self._once(ObjectRef(RBAC, "Role", namespace, name))
            else:
                self.gaps.append(
                    gap(f"{kind} {name}", f"bound in {namespace}; roles of clusters are not read")
                )

    async def _of_node(self, name: str) -> None:
        await self._once(ObjectRef("v1", "Node", "", name))

    async def _of_logs(self, pod: PodName) -> None:
        for container in self._containers.get(pod, ()):
            for previous in (False, True) if container.restarted else (False,):
                called = f"{container.name}.previous" if previous else container.name
                path = joined(*_place(pod), f"{called}.log")
                if await self._log(pod, container.name, previous, path, None):
                    continue
                path = joined(*_place(pod), f"{called}.newest.log")
                await self._log(pod, container.name, previous, path, self._limits.newest_lines)

    # -- asking

    async def _asked(self, what: str, asking: Awaitable[T]) -> T | None:
        """The answer; None where there is none, which is a gap then."""
        try:
            return await asking
        except (TemporaryError, PermanentError) as error:
            self.gaps.append(gap(what, error))
            return None
        finally:
            self._on_progress()

    async def _listed(self, api_version: str, kind: str, namespace: str) -> list[dict[str, Any]] | None:
        what, most = f"list {kind} in {namespace}", self._limits.objects
        found = await self._asked(what, self._cluster.list_objects(api_version, kind, namespace, limit=most))
        if found is not None and len(found) >= most:
            self.gaps.append(gap(what, f"the first {most} are looked at; there may be more"))
        return found

    async def _once(self, ref: ObjectRef) -> dict[str, Any] | None:
        """An object that several pods share; None where it is known already, or not to be had."""
        if ref.key in self._seen:
            return None
        self._seen.add(ref.key)
        folder = ("namespaces", ref.namespace) if ref.namespace else ()
        return await self._object(ref, joined(*folder, f"{ref.kind.lower()}s", f"{ref.name}.json"))

    async def _object(self, ref: ObjectRef, path: str) -> dict[str, Any] | None:
        read: list[dict[str, Any] | None] = []

        async def reading() -> None:
            read.append(await self._cluster.get(ref))

        await self._asked(str(ref), reading())
        if not read:
            return None
        found = read[0]
        if found is None:
            self.gaps.append(gap(str(ref), "it is gone"))
            return None
        kept, left_out = redacted(found)
        await self._write(path, f"get {ref}", kept, left_out=left_out)
        return found

    # -- keeping

    async def _write(
        self,
        path: str,
        source: str,
        document: Any,
        *,
        truncated: bool = False,
        left_out: tuple[str, ...] = (),
    ) -> None:
        content = (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode(
            "utf-8", "backslashreplace"
        )
        if len(content) > self._left:
            self.gaps.append(gap(source, f"no room: {self._limits.total_bytes} bytes are kept in all"))
            return
        self._left -= len(content)

        async def blocks() -> AsyncIterator[bytes]:
            yield content

        await self._store(Kept(path, source, 0, "", truncated, left_out), blocks())

    async def _log(
        self, pod: PodName, container: str, previous: bool, path: str, tail_lines: int | None
    ) -> bool:
        """Keep one log as far as it may; False where there is more of it."""
        limit = min(self._limits.log_bytes, self._left - self._limits.reserved_bytes)
        before = " before it restarted" if previous else ""
        part = f", its last {tail_lines} lines" if tail_lines is not None else ""
        source = f"log of {container} in {pod.namespace}/{pod.name}{before}{part}"
        if limit <= 0:
            self.gaps.append(gap(source, f"no room: {self._limits.total_bytes} bytes are kept in all"))
            return True
        # Taken at once, since others are read meanwhile; what was not needed is given back.
        self._left -= limit
        taken, more = 0, False

        async def cut() -> AsyncGenerator[bytes]:
            nonlocal taken, more
            # One byte more than is kept tells whether there is more.
            asked = self._cluster.log_blocks(
                pod.namespace,
                pod.name,
                container=container,
                previous=previous,
                limit_bytes=limit + 1,
                tail_lines=tail_lines,
            )
            async with aclosing(asked) as blocks:
                async for block in blocks:
                    self._on_progress()
                    kept = block[: limit - taken]
                    taken += len(kept)
                    more = len(kept) < len(block)
                    yield kept
                    if more:
                        return

        try:
            async with asyncio.timeout(self._limits.log_time.total_seconds()):
                reading = cut()
                async with aclosing(reading):
                    await self._store(Kept(path, source, 0, "", truncated=False), reading)
        except TimeoutError:
            self.gaps.append(gap(source, f"cut after {in_words(self._limits.log_time)}"))
        finally:
            self._left += limit - taken
        if more and path in self._kept:
            self._kept[path] = replace(self._kept[path], truncated=True)
        return not more

    async def _store(self, kept: Kept, blocks: AsyncIterator[bytes]) -> None:
        """Write a file as its content comes; it counts as truncated until all of it is there.

        An answer that never began makes no file. What the disk or the cluster says is a gap.
        """
        if kept.path in self._kept:
            self.gaps.append(gap(kept.source, f"{kept.path} is taken by what was read before"))
            return
        self._kept[kept.path] = replace(kept, truncated=True)
        writing: Writing | None = None
        try:
            async for block in blocks:
                writing = writing or await self._do(partial(self._create, kept.path))
                await self._do(partial(writing.write, block))
            writing = writing or await self._do(partial(self._create, kept.path))
            await self._do(writing.close)
            self._kept[kept.path] = kept
        except (TemporaryError, PermanentError) as error:
            self.gaps.append(gap(kept.source, error))
        except OSError as error:
            self.gaps.append(gap(kept.source, f"{NOT_TAKEN}: {_said(error)}"))
        finally:
            self._on_progress()

    def _create(self, path: str) -> Writing:
        """Runs in a thread; noted there, since whoever asked may have been cancelled by then."""
        with self._creating:
            if self._sealing:
                raise OSError(errno.ECANCELED, "it is being sealed")
            writing = self._writings[path] = self._capture.create(path)
        return writing

    def seal(self, *, begun: datetime, ended: datetime) -> tuple[Manifest, str]:
        """End every file and write the manifest; runs in a thread. Raises OSError where that cannot be."""
        with self._creating:
            self._sealing = True
        files: list[Kept] = []
        for path, writing in sorted(self._writings.items()):
            kept = self._kept[path]
            try:
                writing.close()
            except OSError as error:
                self.gaps.append(gap(kept.source, f"{NOT_TAKEN}: {_said(error)}"))
            files.append(replace(kept, bytes=writing.bytes, sha256=writing.sha256))
        subject, name = self._subject, self._capture.name
        gaps = tuple(self.gaps)
        manifest = Manifest(subject.incident, name, subject.scopes, begun, ended, tuple(files), gaps)
        return manifest, self._capture.seal(manifest)


def _earlier(vault: Vault, subject: Subject) -> EvidenceSealed | list[Gap]:
    """What was sealed for this very lock before a crash; else what was begun and is left as it is."""
    abandoned: list[Gap] = []
    for capture in vault.captures(subject.incident):
        if not capture.name.startswith(f"{_stem(subject)}-"):
            continue
        sealed = capture.sealed()
        if sealed is None:
            abandoned.append(gap(f"capture {capture.name}", "never sealed: abandoned, and left as it is"))
            continue
        manifest, digest = sealed
        same = (manifest.incident, manifest.capture) == (subject.incident, capture.name)
        if same and manifest.scopes == subject.scopes and not differences(manifest, capture.files()):
            return _sealed(manifest, digest, ())
        abandoned.append(gap(f"capture {capture.name}", "not as its manifest says: left as it is"))
    return abandoned


def _read_again(capture: Capture, manifest: Manifest) -> tuple[str, ...]:
    """What is not on the disk as it was written."""
    wrong = differences(manifest, capture.files())
    return tuple(f"read again: {one}" for one in wrong[:GAPS_TOLD])


def _sealed(manifest: Manifest, digest: str, wrong: tuple[str, ...]) -> EvidenceSealed:
    """What the timeline is told of a capture."""
    return EvidenceSealed(
        manifest.capture,
        digest,
        manifest.scopes,
        len(manifest.files),
        manifest.bytes,
        (*wrong, *_told(manifest.gaps)),
    )


def _nothing(subject: Subject, capture: str, why: str) -> EvidenceSealed:
    return EvidenceSealed(capture, "", subject.scopes, 0, 0, (why,) * bool(why))


def _told(gaps: Iterable[Gap]) -> tuple[str, ...]:
    """The gaps as the timeline has them: a few, the rest by their number."""
    words = [str(one) for one in gaps]
    left = len(words) - GAPS_TOLD
    return tuple(words[:GAPS_TOLD]) + ((f"and {left} more, in its manifest",) if left > 0 else ())


def _stem(subject: Subject) -> str:
    """The name that all captures of one lock begin with: when it was set."""
    return subject.locked_at.strftime("%Y%m%dT%H%M%S.%fZ")


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _place(pod: PodName) -> tuple[str, ...]:
    """Where what is of one pod lies."""
    return "pods", pod.namespace, pod.name
