"""Sends what is done to an OpenTelemetry collector, over OTLP/HTTP. Imported only where one is named.

The steps of an incident are taken over hours, by whichever process holds it, and nothing of a trace is
stored: the trace's id follows from the incident, so that everybody who works on it finds the same one. A
thread sends; the queue before it is bounded, and what does not fit is dropped and counted, so that a
collector that is away costs spans and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC
from importlib.metadata import version
from typing import Any, TypeVar, Unpack

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace import Span as OpenSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from receiver.domain.incidents import Incident
from receiver.pipeline.counters import Counters
from receiver.pipeline.tracing import Fields, Span, told_of

log = structlog.get_logger(__name__)
T = TypeVar("T")

PATH = "/v1/traces"
# A minute of a storm; some megabytes.
QUEUE = 4096
BATCH = 512
EVERY_MS = 2000
# One batch, with the exporter's own retries: what takes longer is lost, the next one is tried.
SEND_WITHIN_SECONDS = 5.0
CLOSE_WITHIN_SECONDS = 3.0
COMPLAIN_EVERY_SECONDS = 300.0
# Notifications that wait to be joined; a moment later they are, or another process has them.
ARRIVALS = 1024

_KINDS: Mapping[str, SpanKind] = {
    "receive": SpanKind.SERVER,
    "write": SpanKind.CLIENT,
    "tell": SpanKind.CLIENT,
}
_KEYS: Mapping[str, str] = {"http_status": "http.response.status_code"}
# Within a security incident: of what is done there nothing is said.
_RESTRICTED: ContextVar[bool] = ContextVar("restricted", default=False)
_NEXT_IDS: ContextVar[tuple[int, int] | None] = ContextVar("next_ids", default=None)


class Traces:
    """A tracer (see `receiver.pipeline.tracing.Tracer`) whose spans reach this collector, or are lost.

    ``endpoint`` is its base address, ``share`` the part of traces that is recorded (0 to 1). Headers,
    certificates and compression are taken from the variables that the OpenTelemetry specification names
    (``OTEL_EXPORTER_OTLP_HEADERS`` and so on).
    """

    on = True

    def __init__(self, endpoint: str, *, share: float, counters: Counters) -> None:
        # All of them from the start: another thread reads them while ours counts.
        counters.spans.update({"sent": 0, "failed": 0, "dropped": 0})
        said = _quieted()
        self._exporter = _Exporter(endpoint, counters, said)
        self._queue = _Queue(self._exporter, counters)
        self._ratio = TraceIdRatioBased(share)
        provider = TracerProvider(
            sampler=ParentBased(self._ratio),
            resource=_resource(),
            # At exit it would wait for half a minute.
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer("stanch")
        self._arrivals: OrderedDict[bytes, SpanContext] = OrderedDict()

    def receiving(self, traceparent: str | None) -> AbstractContextManager[Span]:
        """See `Tracer.receiving`. A sender's own decision whether to record stands."""

        def begin() -> OpenSpan:
            carrier = {} if traceparent is None else {"traceparent": traceparent}
            # Nothing else of the sender's headers is taken: its tracestate would be sent on as it is.
            return self._begun("receive", TraceContextTextMapPropagator().extract(carrier, Context()))

        return _doing(begin)

    def arrived(self, body: bytes) -> None:
        """See `Tracer.arrived`."""
        context = get_current_span().get_span_context()
        if context.is_valid and context.trace_flags.sampled:
            self._arrivals[_digest(body)] = context
            if len(self._arrivals) > ARRIVALS:
                self._arrivals.popitem(last=False)

    def opened(self, incident: Incident) -> None:
        """See `Tracer.opened`."""

        def begin() -> OpenSpan:
            before = _NEXT_IDS.get()
            _NEXT_IDS.set(ids_of(incident))
            try:
                return self._begun("incident", Context())
            finally:
                _NEXT_IDS.set(before)

        with _doing(begin, lambda: told_of(incident)):
            pass

    @contextmanager
    def of_incident(
        self,
        name: str,
        incident: Callable[[], Incident],
        *,
        bodies: Iterable[bytes] = (),
        began_ns: int | None = None,
    ) -> Iterator[Span]:
        """See `Tracer.of_incident`."""

        def begin() -> OpenSpan:
            trace_id, span_id = ids_of(incident())
            sampled = self._ratio.should_sample(None, trace_id, name).decision is Decision.RECORD_AND_SAMPLE
            flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
            opened = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
            parent = set_span_in_context(NonRecordingSpan(opened), Context())
            return self._begun(name, parent, links=self._links(bodies), start_time=began_ns)

        before = _RESTRICTED.get()
        _RESTRICTED.set(incident().lockdown is not None)
        try:
            # Said when it is done: meanwhile it may have turned into one of security.
            with _doing(begin, lambda: told_of(incident())) as span:
                yield span
        finally:
            _RESTRICTED.set(before)

    def span(self, name: str) -> AbstractContextManager[Span]:
        """See `Tracer.span`."""
        return _doing(lambda: self._begun(name, None))

    def _begun(self, name: str, parent: Context | None, **more: Any) -> OpenSpan:
        kind = _KINDS.get(name, SpanKind.INTERNAL)
        return self._tracer.start_span(name, parent, kind=kind, **more)

    def _links(self, bodies: Iterable[bytes]) -> list[Link]:
        found = (self._arrivals.get(_digest(body)) for body in bodies)
        return [Link(context) for context in found if context is not None]

    async def close(self) -> None:
        """Send what waits, within `CLOSE_WITHIN_SECONDS`; what cannot be sent by then is lost."""
        done = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            self._queue.shutdown()
            # After its time nobody waits, and there may be no loop any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        # The process does not wait for such a thread, as it would for one of the loop's own.
        threading.Thread(target=flush, name="traces-close", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
                await done.wait()
        except TimeoutError:
            log.warning("the last spans were not delivered", event_code="traces_lost")
        finally:
            # Ends a wait between two tries.
            self._exporter.shutdown()


@contextmanager
def _doing(begin: Callable[[], OpenSpan], told: Callable[[], Fields] | None = None) -> Iterator[Span]:
    """A span around what is done meanwhile, with what is to be told of it in the end."""
    said = _Said(_unharmed(begin) or INVALID_SPAN)
    try:
        with (
            # An exception's words may quote an alert; it is not recorded.
            use_span(said.open, record_exception=False, set_status_on_exception=False),
            bound_contextvars(**_names_of(said.open)),
        ):
            yield said
    except BaseException as error:
        said.failed(error)
        raise
    finally:
        _unharmed(lambda: said.end(told))


def _unharmed(doing: Callable[[], T]) -> T | None:
    """What it returns; a fault in telling must not become one of what is told about."""
    try:
        return doing()
    except Exception:
        log.exception("a trace could not be written", event_code="trace_failed")
        return None


class _Said:
    """A span, and what is said of it."""

    def __init__(self, opened: OpenSpan) -> None:
        self.open = opened

    def set(self, **fields: Unpack[Fields]) -> None:
        """See `Span.set`."""
        if not _RESTRICTED.get():
            _unharmed(lambda: _say(self.open, fields))

    def failed(self, error: BaseException) -> None:
        """It raised this, of which the type is told and nothing else."""
        self.open.set_status(Status(StatusCode.ERROR))
        if not _RESTRICTED.get():
            self.open.set_attribute("error.type", type(error).__name__)

    def end(self, told: Callable[[], Fields] | None) -> None:
        """It is done."""
        try:
            if told is not None:
                _say(self.open, told())
        finally:
            self.open.end()


def _say(span: OpenSpan, fields: Fields) -> None:
    for name, value in fields.items():
        # A word of ours is sent as the plain text or number that it is.
        plain = value if isinstance(value, int) else str(value)
        span.set_attribute(_KEYS.get(name, f"stanch.{name}"), plain)


def ids_of(incident: Incident) -> tuple[int, int]:
    """The ids of an incident's trace and of the span that everything of it hangs below.

    Installations number their incidents alike and may share a collector; when one opened, to the microsecond,
    tells them apart.
    """
    at = "" if incident.opened_at is None else incident.opened_at.astimezone(UTC).isoformat()
    found = hashlib.sha256(f"stanch/incident/{incident.id}/{at}".encode()).digest()
    # Neither may be zero, which no hash that anybody has seen begins with.
    return int.from_bytes(found[:16]), int.from_bytes(found[16:24])


class _Ids(RandomIdGenerator):
    """Random ids, or those that the next span is to have."""

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        given = _NEXT_IDS.get()
        return super().generate_trace_id() if given is None else given[0]

    def generate_span_id(self) -> int:
        """See `IdGenerator`."""
        given = _NEXT_IDS.get()
        return super().generate_span_id() if given is None else given[1]


class _Exporter(SpanExporter):
    """The SDK's own, counted, and its failures said once in a while. Runs in the queue's thread."""

    def __init__(self, endpoint: str, counters: Counters, said: _Listening) -> None:
        self._inner = OTLPSpanExporter(endpoint.rstrip("/") + PATH, timeout=SEND_WITHIN_SECONDS)
        self._counters = counters
        self._said = said
        self._complained: float | None = None
        self._closed = False
        self.waiting = 0
        self.lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        self._said.status = None
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            with self.lock:
                self.waiting -= len(spans)
                sent = result is SpanExportResult.SUCCESS
                self._counters.spans["sent" if sent else "failed"] += len(spans)
            if not sent:
                self._complain()
        return result

    def _complain(self) -> None:
        now = time.monotonic()
        if self._complained is not None and now - self._complained < COMPLAIN_EVERY_SECONDS:
            return
        self._complained = now
        status = self._said.status
        why = "no answer in time" if status is None else f"it answered {status}"
        log.warning(
            "the collector of traces does not take them; they are dropped",
            event_code="traces_failed",
            why=why,
        )

    def shutdown(self) -> None:
        """See `SpanExporter`; more than once does no harm."""
        if not self._closed:
            self._closed = True
            self._inner.shutdown()  # type: ignore[no-untyped-call]


class _Queue(SpanProcessor):
    """Spans that wait to be sent, at most `QUEUE` of them. The newest are dropped, and counted."""

    def __init__(self, exporter: _Exporter, counters: Counters) -> None:
        self._exporter = exporter
        self._counters = counters
        self._batches = BatchSpanProcessor(
            exporter, max_queue_size=QUEUE, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH
        )

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor`."""
        with self._exporter.lock:
            full = self._exporter.waiting >= QUEUE
            if full:
                self._counters.spans["dropped"] += 1
            else:
                self._exporter.waiting += 1
        if not full:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """See `SpanProcessor`."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]


class _Listening(logging.Handler):
    """What the SDK logs of itself goes no further than this: only what a collector answered is kept of it."""

    status: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        numbers = [one for one in record.args or () if isinstance(one, int)]
        self.status = numbers[0] if numbers and 100 <= numbers[0] < 600 else self.status


def _quieted() -> _Listening:
    """Its words are of many lines, in another form, and quote whatever they are about."""
    said = _Listening()
    for name in ("opentelemetry", "urllib3", "requests"):
        library = logging.getLogger(name)
        library.handlers[:] = [said]
        library.propagate = False
    return said


def _resource() -> Resource:
    ours = {"service.name": "stanch", "service.version": version("stanch")}
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say stands over it.
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _names_of(span: OpenSpan) -> dict[str, Any]:
    """What the log lines that are written meanwhile carry; nothing where no such trace will be found."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
