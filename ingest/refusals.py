"""Calls that the provider refused: nothing was read or written, and no provider bills them."""

from __future__ import annotations

from collections.abc import Sequence

from inferometer.schema.records import Inference, UsageSource

STATUSES = frozenset({400, 401, 403, 404, 413, 422, 429})
"""HTTP statuses that say that the model was never asked; a timeout (408) or 5xx says nothing of the sort."""

_ERROR_TYPES = frozenset(
    {
        *map(str, STATUSES),
        *("BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError"),
        *("UnprocessableEntityError", "RateLimitError"),
    }
)
"""What OpenTelemetry and the providers' packages call such statuses, without the name of the package."""


def mark_refused(call: Inference, error_type: str | None, statuses: Sequence[int | None]) -> None:
    """Mark a call as refused where its record says so plainly, and nothing of an answer.

    Args:
        call: an inference; one with usage, or with anything that came back, stays as it is.
        error_type: how its span ended.
        statuses: HTTP status of each attempt, None where none answered; empty where nothing is known of them.
    """
    came_back = call.response_id or call.finish_reason or call.ttft_ns is not None
    if call.usage_source is not UsageSource.ABSENT or came_back or not call.billable:
        return
    is_named = error_type is not None and error_type.rpartition(".")[2] in _ERROR_TYPES
    if STATUSES.issuperset(statuses) if statuses else is_named:
        what = ", ".join(map(str, statuses)) if statuses else error_type
        call.usage_source = UsageSource.REFUSED
        call.reasons.append(f"refused by the provider ({what}): nothing is billed")
