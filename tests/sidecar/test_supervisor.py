from __future__ import annotations

import asyncio
import logging

import pytest

from inferometer.sidecar import supervisor as module
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.settings import Settings
from inferometer.sidecar.supervisor import Supervisor


def test_whatever_keeps_the_normaliser_from_starting_is_said_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    async def fail(self: Supervisor, settings: NormaliserSettings) -> int:
        tried.append(settings)
        raise ValueError("whatever")

    monkeypatch.setattr(Supervisor, "_run", fail)
    monkeypatch.setattr(module, "RESTART_WAIT_S", 0.001)
    monkeypatch.setattr(module, "MAX_RESTART_WAIT_S", 0.001)
    settings = NormaliserSettings.of(Settings(), "")

    async def watch() -> None:
        watching = Supervisor(settings, Counters(), 0)
        watching.start()
        while len(tried) < 3:
            await asyncio.sleep(0.001)
        await watching.stop(5)

    with caplog.at_level(logging.WARNING, "inferometer.sidecar"):
        asyncio.run(asyncio.wait_for(watch(), 30))
    assert caplog.messages.count("the normaliser cannot be reached") >= 3
