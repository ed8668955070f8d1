"""The mistralai SDK traces itself: it is recorded by configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub, Reply

pytest.importorskip("mistralai")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_chat(trace: Callable[..., Any], stub: ModelStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")
    from mistralai.client import Mistral

    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply("fine", input_tokens=90, output_tokens=3),
            Reply("a b c", input_tokens=50, output_tokens=3, usage_unasked=True),
        )
        messages: Any = [{"role": "user", "content": "what is the plan?"}]
        with Mistral(server_url=stub.url, api_key="x") as client:
            assert client.chat.complete(model="mistral-large-latest", messages=messages).choices
            for _ in client.chat.stream(model="mistral-large-latest", messages=messages):
                pass

    spans = trace(scenario, package="mistralai", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"mistralai_sdk_tracer"}
