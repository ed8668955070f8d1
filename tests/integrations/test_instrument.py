"""Putting hooks in place and taking them back, whatever is installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

import inferometer
from inferometer import integrations
from inferometer.integrations import openai as openai_hook
from inferometer.integrations.base import Patches
from inferometer.schema.errors import MissingExtraError, UnknownNameError, UserError
from inferometer.testing import Recorded


def test_unknown_and_absent_frameworks_are_errors_at_once() -> None:
    with pytest.raises(UnknownNameError, match="openai"):
        inferometer.instrument("opnai")
    with pytest.raises(UnknownNameError):
        inferometer.uninstrument("opnai")
    with pytest.raises(MissingExtraError, match=r"needs the package 'crewai': pip install crewai$"):
        inferometer.instrument("crewai")


def test_without_names_what_is_installed_is_hooked_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        found = inferometer.instrument()
        assert {"openai", "http", "executors"} <= set(found)
        assert "crewai" not in found
    finally:
        inferometer.uninstrument()
    assert "crewai" not in sys.modules


def test_unsupported_version_is_an_error_by_name_and_a_warning_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import openai

    assert openai.__version__ != "0.28.0"
    hook = openai_hook.OpenAIIntegration()
    monkeypatch.setattr(hook, "_version", lambda: "0.28.0")
    monkeypatch.setitem(integrations._loaded, "openai", hook)
    with pytest.raises(UserError, match=r"needs openai >= 1\.40, not 0\.28\.0"):
        inferometer.instrument("openai")
    inferometer.uninstrument()
    assert "openai" not in [name for name in inferometer.instrument() if integrations._loaded[name].active]
    assert "needs openai" in caplog.text
    inferometer.uninstrument()


def test_sdk_that_is_built_otherwise_is_an_error_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("openai")
    module.__spec__ = ModuleSpec("openai", None)
    module.OpenAI = type("OpenAI", (), {})  # type: ignore[attr-defined]
    module.AsyncOpenAI = type("AsyncOpenAI", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "openai", module)
    hook = openai_hook.OpenAIIntegration()
    with pytest.raises(UserError, match="nothing in openai"):
        hook.install()
    assert not hook.active
    assert "request" not in vars(module.OpenAI)


def test_hook_that_raises_leaves_the_call_alone(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    import openai

    from inferometer.testing.model_stub import ModelStub

    def broken(*args: Any) -> None:
        raise KeyError("a shape that nobody knew")

    monkeypatch.setattr("inferometer.integrations.openai_bodies.request_of", broken)
    inferometer.instrument("openai")
    with ModelStub() as stub, openai.OpenAI(base_url=stub.openai_url, api_key="x") as client:
        assert client.chat.completions.create(model="m", messages=[]).choices
    inferometer.uninstrument()
    assert recorded.spans == []


def test_patch_wrapped_by_another_library_stays_and_ours_goes_quiet() -> None:
    class Client:
        def send(self) -> str:
            return "sent"

    seen = []

    def make(original: Any) -> Any:
        def send(self: Any) -> Any:
            seen.append("ours")
            return original(self)

        return send

    patches = Patches()
    patches.wrap(Client, "send", make)
    ours = Client.send
    Client.send = lambda self: "theirs " + ours(self)  # type: ignore[method-assign]
    assert Client().send() == "theirs sent"
    patches.restore()
    assert Client().send() == "theirs sent"
    assert seen == ["ours"]
