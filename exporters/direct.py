"""From ended spans straight into a store, without a wire between."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from inferometer.ingest.raw import RawEvent, RawSpan, resource_of
from inferometer.schema.records import Resource, SpanLink, Status
from inferometer.tracer.conversion import clean_attributes, parent_context
from inferometer.tracer.guard import report
from inferometer.tracer.span import LeanSpan

if TYPE_CHECKING:
    from inferometer.store import Store

SOURCE = "direct"
_STATUSES = {0: Status.UNSET, 1: Status.OK, 2: Status.ERROR}


class StoreSpanExporter(SpanExporter):
    """Commits each batch to a store before it answers; opened at the first batch, on the thread that exports.

    Args:
        url: of the store; None for ``INFEROMETER_STORE``, else the user's own.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._store: Store | None = None
        self._resources: dict[int, tuple[SdkResource, Resource]] = {}
        self._shutdown = False

    def prepare(self) -> None:
        """Load what writing needs; the store itself is opened, and made, by the first batch."""
        import_module("inferometer.ingest.commit")
        import_module("inferometer.ingest.normalise")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write SDK spans."""
        return self._write([self._from_readable(span) for span in spans])

    def export_lean(
        self, spans: Sequence[LeanSpan], resource: SdkResource, scope: InstrumentationScope
    ) -> SpanExportResult:
        """Write our own spans without making SDK spans of them first."""
        canonical = self._resource(resource)
        return self._write([_from_lean(span, canonical, scope) for span in spans])

    def _write(self, raw_spans: list[RawSpan]) -> SpanExportResult:
        if self._shutdown:
            return SpanExportResult.FAILURE
        from inferometer.ingest.commit import commit
        from inferometer.ingest.normalise import normalise

        try:
            store = self._open()
            batch = normalise(raw_spans)
            with store.transaction() as transaction:
                commit(transaction, batch)
        except Exception as error:
            report("store exporter", error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _open(self) -> Store:
        if self._store is None:
            from inferometer.store import open_store

            self._store = open_store(self._url)
        return self._store

    def _resource(self, resource: SdkResource) -> Resource:
        known = self._resources.get(id(resource))
        if known is None or known[0] is not resource:
            known = self._resources[id(resource)] = (resource, resource_of(resource.attributes))
        return known[1]

    def _from_readable(self, span: ReadableSpan) -> RawSpan:
        context, scope = span.context, span.instrumentation_scope
        assert context is not None
        return RawSpan(
            trace_id=context.trace_id.to_bytes(16),
            span_id=context.span_id.to_bytes(8),
            name=span.name,
            parent_id=_parent_id(span.parent),
            otel_kind=span.kind.name.lower(),
            start_ns=span.start_time,
            end_ns=span.end_time,
            status=_STATUSES[span.status.status_code.value],
            attributes=dict(span.attributes or ()),
            events=[RawEvent(event.name, event.timestamp, dict(event.attributes or ())) for event in span.events],
            links=[_link(link.context, link.attributes) for link in span.links],
            resource=self._resource(span.resource),
            scope=scope.name if scope is not None else None,
            scope_version=scope.version if scope is not None else None,
            trace_state=context.trace_state.to_header() or None,
            source=SOURCE,
        )

    def shutdown(self) -> None:
        """Close the store."""
        self._shutdown = True
        if self._store is not None:
            self._store.close()
            self._store = None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: what ``export`` answered for is on disk."""
        return True


def _from_lean(span: LeanSpan, resource: Resource, scope: InstrumentationScope) -> RawSpan:
    return RawSpan(
        trace_id=span.trace_id.to_bytes(16),
        span_id=span.span_id.to_bytes(8),
        name=span.name,
        parent_id=_parent_id(parent_context(span)),
        otel_kind=span.kind.name.lower(),
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        status=_STATUSES[span.status_code.value],
        attributes=clean_attributes(span.attributes, span.limits.attribute_length),
        events=[
            RawEvent(name, time_ns, clean_attributes(attributes)) for name, time_ns, attributes in span.events or ()
        ],
        links=[_link(link.context, link.attributes) for link in span.links or ()],
        resource=resource,
        scope=scope.name,
        scope_version=scope.version,
        trace_state=span.trace_state.to_header() or None,
        source=SOURCE,
    )


def _parent_id(parent: SpanContext | None) -> bytes | None:
    return parent.span_id.to_bytes(8) if parent is not None and parent.span_id else None


def _link(context: SpanContext, attributes: Any) -> SpanLink:
    return SpanLink(context.trace_id.to_bytes(16), context.span_id.to_bytes(8), dict(attributes or ()))
