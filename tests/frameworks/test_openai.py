"""The openai SDK's current release: chat, streams, responses, embeddings, tools, errors and rate limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import inferometer
from inferometer.testing.model_stub import Failure, ModelStub, Reply

openai = pytest.importorskip("openai")
MESSAGES: Any = [{"role": "user", "content": "Xyzzy-4711: what is the plan?"}]


def test_everything(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Failure(429, retry_after_s=0.001),
            *(
                Reply("one two", input_tokens=50, output_tokens=9, cached_tokens=32, reasoning_tokens=4)
                for _ in range(4)
            ),
            Failure(400),
        )
        with inferometer.agent("clerk"), openai.OpenAI(base_url=stub.openai_url, api_key="x") as client:
            client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
            client.responses.create(model="gpt-4o", input="Xyzzy-4711")
            list(client.responses.create(model="gpt-4o", input="Xyzzy-4711", stream=True))
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    spans = trace(scenario, "openai", package="openai")
    assert [span.name for span in spans] == ["chat gpt-4o"] * 5 + ["invoke_agent clerk"]
