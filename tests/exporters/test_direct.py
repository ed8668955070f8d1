"""What our own spans become on their way to the store: the same records as anybody else's."""

from __future__ import annotations

from typing import Any

import pytest

import inferometer
from inferometer.exporters.direct import StoreSpanExporter
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.testing import record

KEY = "07" * 32


def _user_of(scope: str, attributes: dict[str, Any]) -> str | None:
    raw = RawSpan(b"\1" * 16, b"\2" * 8, "call", start_ns=1, end_ns=2, attributes=attributes, scope=scope)
    return normalise([raw]).spans[0].user_id


def _traced_user(**options: Any) -> str | None:
    with record(**options) as recorded:
        with inferometer.session(user="anna"), inferometer.agent("clerk"):
            pass
        spans = recorded.spans
    exporter = StoreSpanExporter()
    (span,) = normalise([exporter._from_readable(span) for span in spans]).spans
    assert "anna" not in str(span.attributes)
    return span.user_id


@pytest.mark.parametrize("plain_users", [False, True])
def test_a_user_has_one_pseudonym_traced_or_imported(monkeypatch: pytest.MonkeyPatch, plain_users: bool) -> None:
    monkeypatch.setenv("INFEROMETER_HASH_KEY", KEY)
    imported = _user_of("langfuse-sdk", {"user.id": "anna", "gen_ai.operation.name": "chat"})
    assert imported not in (None, "anna")
    assert _traced_user(plain_users=plain_users) == imported
    assert _user_of("inferometer", {"user.id": "otto"}) != imported


def test_a_hash_is_believed_of_our_own_scope_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFEROMETER_HASH_KEY", KEY)
    said = {"user.hash": "0123456789abcdef", "gen_ai.operation.name": "chat"}
    assert _user_of("inferometer", said) == "0123456789abcdef"
    assert _user_of("somebody", said) not in (None, "0123456789abcdef")
    assert _user_of("inferometer", {**said, "user.hash": "anna@example.org"}) not in (None, "anna@example.org")
