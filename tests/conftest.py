"""What every test may use, and what none may leave behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from inferometer.testing.postgresql import Server, find_programs, serve

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"
if find_spec("hypothesis") is not None:  # a framework's own environment has none
    from hypothesis import HealthCheck, settings

    # that a machine is busy is no failure of what is tested
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts what runs in the background deaf to Ctrl-C, and all that it starts: tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)

REQUIRED = frozenset(filter(None, os.environ.get("INFEROMETER_REQUIRE", "").split(",")))


def need(condition: bool, what: str, reason: str) -> None:
    """Skip the test unless `condition`; fail instead where INFEROMETER_REQUIRE names `what`."""
    if condition:
        return
    if what in REQUIRED:
        pytest.fail(f"{reason}, and INFEROMETER_REQUIRE names {what!r}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test skips where it is absent."""
    need(SHARED.is_dir(), "shared", "the real data of ../shared is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server of the tests' own."""
    programs = find_programs()
    need(programs is not None and find_spec("psycopg") is not None, "postgres", "PostgreSQL is not installed here")
    assert programs is not None
    with serve(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> str:
    """The URL of an empty database."""
    return postgres_server.create_database(f"test_{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Paths of headless Chromium and its driver; the test skips where Debian's packages are not installed."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    need(program is not None and driver is not None, "browser", "chromium and chromium-driver are not installed here")
    assert program is not None
    assert driver is not None
    return program, driver


@pytest.fixture
def browser(chromium: tuple[str, str]) -> Iterator[Any]:
    """Headless Chromium that keeps its console and its network log."""
    from selenium import webdriver

    program, driver = chromium
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1440,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.set_script_timeout(60)
    yield opened
    opened.quit()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, from the nearest node_modules as npm resolves it."""
    places = [folder / "node_modules" / "axe-core" / "axe.min.js" for folder in (REPOSITORY, *REPOSITORY.parents)]
    found = next((place for place in places if place.is_file()), None)
    need(found is not None, "axe", "axe-core is not installed here (npm install --no-save axe-core)")
    assert found is not None
    return found.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a test's data, cache and configuration away from the user's own."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
    for name in list(os.environ):
        if name.startswith(("OTEL_", "INFEROMETER_")) and name != "INFEROMETER_REQUIRE":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread of ours or a global tracer provider behind."""
    from opentelemetry import trace

    provider_before = trace._TRACER_PROVIDER
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("inferometer")]
    assert not left, f"threads left running: {left}"
    assert trace._TRACER_PROVIDER is provider_before, "a global tracer provider was left behind"
