"""What a program says about the work under way: `annotate`, `tag`, `session`, `outcome`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import Token
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from inferometer.schema import attributes as names
from inferometer.schema.errors import UserError
from inferometer.schema.records import Purpose
from inferometer.tracer import recording
from inferometer.tracer.activity import detach
from inferometer.tracer.frames import FRAME_KEY, current_frame
from inferometer.tracer.guard import report
from inferometer.tracer.privacy import Privacy

if TYPE_CHECKING:
    from types import TracebackType

F = TypeVar("F", bound=Callable[..., Any])
BAGGAGE_PREFIX = "inferometer."


def annotate(**attributes: Any) -> None:
    """Add attributes to the current span; dots are written as two underscores (``shop__order_id=7``).

    Does nothing where no span is open, and never raises.
    """
    try:
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes({key.replace("__", "."): value for key, value in attributes.items()})
    except Exception as error:
        report("annotate", error)


class _Scoped:
    """Sets something that spans inherit, in this context alone.

    As a statement it holds for the rest of the function that is traced, that function's own span included; as a context
    manager or decorator for a block or a function's calls.
    """

    def __init__(self) -> None:
        self._tokens: list[Token[Context]] = []
        self._stated: tuple[Context, Token[Context]] | None = None

    def _state(self) -> None:
        try:
            context = self._context(otel_context.get_current())
            self._stated = (context, otel_context.attach(context))
        except Exception as error:
            report(type(self).__name__, error)

    def _withdraw(self) -> None:
        """Take the statement back: it turned out to be the head of a block or a decorator."""
        stated, self._stated = self._stated, None
        if stated is not None and otel_context.get_current() is stated[0]:
            detach(stated[1])

    def _context(self, context: Context) -> Context:
        raise NotImplementedError

    def __enter__(self) -> None:
        self._withdraw()
        try:
            self._tokens.append(otel_context.attach(self._context(otel_context.get_current())))
        except Exception as error:
            report(type(self).__name__, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tokens:
            detach(self._tokens.pop())

    def __call__(self, function: F) -> F:
        """Hold for each call of a function."""
        self._withdraw()
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return function(*args, **kwargs)

        return call  # type: ignore[return-value]


class tag(_Scoped):  # noqa: N801 - reads as the verb it is
    """Label spans: ``tag(team="search")`` for the rest of a traced function, ``with tag(...):`` for a block.

    Tags named in ``configure(tags=...)`` also travel to the hosts of ``configure(propagate_to=...)`` as W3C baggage.
    """

    def __init__(self, **tags: str) -> None:
        super().__init__()
        for key, value in tags.items():
            if not isinstance(value, (str, int, float, bool)):
                raise UserError(f"tag {key} must be a text or a number, not {type(value).__name__}")
        self._values = {key: str(value) for key, value in tags.items()}
        self._state()

    def _context(self, context: Context) -> Context:
        now = recording.active
        travels = now.baggage_tags if now is not None else frozenset()
        for key, value in self._values.items():
            if key in travels:
                context = baggage.set_baggage(BAGGAGE_PREFIX + key, value, context)
        frame = current_frame(context).with_attributes({names.TAG + key: value for key, value in self._values.items()})
        return otel_context.set_value(FRAME_KEY, frame, context)


class session(_Scoped):  # noqa: N801
    """Say whose conversation this is: ``session("chat-17", user="u1")``, ``with session(...):`` or ``@session(...)``.

    Args:
        session_id: of the conversation; never invented where absent.
        user: of the person; hashed unless ``configure(plain_users=True)``.
        purpose: ``serve``, ``develop``, ``evaluate`` or ``train``.
    """

    def __init__(self, session_id: str | None = None, *, user: str | None = None, purpose: str | None = None) -> None:
        super().__init__()
        if purpose is not None and purpose not in set(Purpose):
            raise UserError(f"purpose must be one of {', '.join(Purpose)}, not {purpose!r}")
        self._id = session_id
        self._user = user
        self._purpose = purpose
        self._state()

    def _context(self, context: Context) -> Context:
        now = recording.active
        privacy = now.privacy if now is not None else Privacy()
        attributes: dict[str, Any] = {}
        if self._id is not None:
            attributes[names.CONVERSATION_ID] = str(self._id)
        if self._user is not None:
            attributes.update(privacy.user(str(self._user)))
        if self._purpose is not None:
            attributes[names.PURPOSE] = self._purpose
        return otel_context.set_value(FRAME_KEY, current_frame(context).with_attributes(attributes), context)


def outcome(name: str, value: float | bool | str) -> None:
    """Record how the current run ended, as an evaluation event: ``outcome("resolved", True)``.

    Does nothing where no span is open, and never raises.
    """
    try:
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes: dict[str, Any] = {names.EVALUATION_NAME: name}
        if isinstance(value, str):
            attributes[names.EVALUATION_LABEL] = value
        else:
            attributes[names.EVALUATION_VALUE] = float(value)
        span.add_event(names.EVALUATION_EVENT, attributes)
    except Exception as error:
        report("outcome", error)
