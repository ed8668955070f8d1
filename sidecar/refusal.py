"""Why a request is not taken, in the words of both transports."""

from __future__ import annotations

from inferometer.schema.errors import InferometerError

RETRY_AFTER_S = 1
"""Seconds a sender is asked to wait; exporters drop a batch when asked for longer than their own timeout."""

# google.rpc.Code
INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 5, 8
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 12, 13, 14, 16
DEADLINE_EXCEEDED = 4


class Refusal(InferometerError):  # noqa: N818 - an answer of the protocol rather than a failure
    """A request that is not taken.

    Args:
        http_status: the HTTP answer's status.
        grpc_code: the ``google.rpc.Code`` of the same thing.
        reason: short word for the metrics' label.
        message: one sentence for the sender; never holds anything of the request's content.
        retry_after_s: seconds to wait before sending again; None where sending again is of no use.
    """

    def __init__(
        self, http_status: int, grpc_code: int, reason: str, message: str, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.grpc_code = grpc_code
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @classmethod
    def malformed(cls, message: str) -> Refusal:
        """Say that the body cannot be understood; the sender must not send it again."""
        return cls(400, INVALID_ARGUMENT, "malformed", message)

    @classmethod
    def too_large(cls, limit_bytes: int) -> Refusal:
        """Say that the body is over the limit, before or after decompression."""
        return cls(
            413, RESOURCE_EXHAUSTED, "too_large", f"the request is over {limit_bytes} bytes; send smaller batches"
        )

    @classmethod
    def too_manifold(cls, limit: int) -> Refusal:
        """Say that the body has more values than may be read at once, however few its bytes are."""
        return cls(413, RESOURCE_EXHAUSTED, "too_large", f"over {limit} JSON values; send smaller batches")

    @classmethod
    def unsupported(cls, message: str) -> Refusal:
        """Say that the content type or encoding is not one of ours."""
        return cls(415, UNIMPLEMENTED, "unsupported", message)

    @classmethod
    def unavailable(cls, reason: str, message: str) -> Refusal:
        """Say that the same request may be taken in a moment."""
        return cls(503, UNAVAILABLE, reason, message, RETRY_AFTER_S)

    @classmethod
    def unauthenticated(cls) -> Refusal:
        """Say that the bearer token is missing or wrong."""
        return cls(401, UNAUTHENTICATED, "unauthenticated", "a valid bearer token is needed")
