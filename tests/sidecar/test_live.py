from __future__ import annotations

import json
import re
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.accessibility import SIZES, THEMES, look, violations

from inferometer.testing.sidecar_process import Running, Start


def build_run(name: str = "answer", *, model: str = "gpt-4o", calls: int = 2) -> ExportTraceServiceRequest:
    """Return one run of now: an agent with model calls and a tool call."""
    now_ns = time.time_ns()
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    trace_id, root_id = secrets.token_bytes(16), secrets.token_bytes(8)

    def add(span_name: str, start_s: float, end_s: float, parent: bytes, **attributes: Any) -> None:
        span = scope.spans.add(
            trace_id=trace_id,
            span_id=root_id if not parent else secrets.token_bytes(8),
            parent_span_id=parent,
            name=span_name,
            kind=3,
            start_time_unix_nano=now_ns - int((10 - start_s) * 1e9),
            end_time_unix_nano=now_ns - int((10 - end_s) * 1e9),
        )
        for key, value in attributes.items():
            pair = span.attributes.add(key="gen_ai." + key.replace("__", "."))
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = value

    add(f"invoke_agent {name}", 0, 9, b"", operation__name="invoke_agent", agent__name=name)
    for number in range(calls):
        usage = {"usage__input_tokens": 10_000, "usage__output_tokens": 500}
        add(
            *(f"chat {model}", number * 2, number * 2 + 1.5, root_id),
            **{"operation__name": "chat", "provider__name": "openai", "request__model": model, **usage},
        )
    add("execute_tool search", 6, 7, root_id, operation__name="execute_tool", tool__name="search")
    return request


def show(sidecar: Running, path: str = "/") -> str:
    answer = sidecar.request("GET", path)
    assert answer.status == 200, answer
    return answer.body.decode().replace("\xa0", " ")


def test_the_page_shows_todays_spend_runs_agents_models_and_search(start: Start) -> None:
    sidecar = start()
    assert "Waiting for the first run" in show(sidecar)
    sidecar.post(build_run("planner").SerializeToString())
    sidecar.post(build_run("<script>alert(1)</script>", model="o3").SerializeToString())
    sidecar.wait_until_stored()
    sidecar.wait_for(lambda: "2 runs today" in show(sidecar))
    page = show(sidecar)
    # gpt-4o: 2 x (10,000 at $2.50 + 500 at $10 a million); o3: 2 x (10,000 at $2 + 500 at $8)
    assert "$0.108" in page
    assert "planner" in page
    assert "<script>alert" not in page
    found = show(sidecar, "/?q=planner")
    assert "1 run found for" in found
    run_id = re.search(r"/runs/([0-9a-f]{16})", found)
    assert run_id
    run = show(sidecar, run_id[0])
    assert "execute_tool search" in run
    assert "10.5 k tokens" in run
    assert sidecar.request("GET", "/runs/ffffffffffffffff").status == 404
    assert sidecar.stop() == 0


def test_updates_come_as_server_sent_events(start: Start) -> None:
    sidecar = start()
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=30) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        received = b""
        while received.count(b"event: update") < 1:
            received += connection.recv(65536)
        sidecar.post(build_run("late-comer").SerializeToString())
        while b"late-comer" not in received:
            piece = connection.recv(65536)
            assert piece
            received += piece
    data = next(line for line in received.decode("utf-8", "replace").splitlines() if line.startswith("data: "))
    assert "Spent today" in json.loads(data.removeprefix("data: "))
    assert sidecar.stop() == 0


def test_pages_carry_a_strict_policy_and_answer_to_this_machine_alone(start: Start) -> None:
    sidecar = start()
    answer = sidecar.request("GET", "/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"https?://(?!localhost|127)", answer.body.decode())
    for path in ("/", "/metrics"):
        assert sidecar.request("GET", path, headers={"host": "evil.example"}).status == 421
    assert sidecar.request("GET", "/", headers={"host": "localhost:4318"}).status == 200
    assert sidecar.request("POST", "/", b"").status == 405
    assert sidecar.stop() == 0


def test_behind_a_token_the_page_asks_for_it_once(start: Start) -> None:
    sidecar = start("--token", "a-long-enough-token")
    answer = sidecar.request("GET", "/")
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert sidecar.request("GET", "/login").status == 200
    assert sidecar.request("POST", "/login", b"token=wrong-one-here").status == 401
    answer = sidecar.request("POST", "/login", b"token=a-long-enough-token")
    assert answer.status == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert sidecar.request("GET", "/", headers={"cookie": cookie.partition(";")[0]}).status == 200
    assert sidecar.request("GET", "/", headers={"cookie": "inferometer_session=made-up"}).status == 303
    assert sidecar.request("GET", "/events", headers={"cookie": "inferometer_session=made-up"}).status == 303
    assert sidecar.request("GET", "/", headers={"authorization": "Bearer a-long-enough-token"}).status == 200
    assert sidecar.stop() == 0


@pytest.mark.browser
def test_in_a_browser_the_page_updates_by_itself_and_works_by_keyboard_and_on_a_phone(
    start: Start, browser: Any
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    sidecar = start()
    sidecar.post(build_run("first").SerializeToString())
    sidecar.wait_until_stored()
    base = f"http://127.0.0.1:{sidecar.http_port}"
    browser.get(base)
    wait = WebDriverWait(browser, 30)
    wait.until(lambda _: "first" in browser.page_source)
    sidecar.post(build_run("second").SerializeToString())
    wait.until(lambda _: "invoke_agent second" in browser.find_element(By.ID, "live").text)

    # by keyboard: the skip link comes first, then brand, search, button, pause, and the runs' links
    focused = []
    while not any(name.startswith("run-") for name in focused):
        assert len(focused) < 10, focused
        browser.switch_to.active_element.send_keys(Keys.TAB)
        element = browser.switch_to.active_element
        focused.append(element.get_attribute("id") or element.text)
    assert focused[0] == "Skip to content"
    assert {"search", "pause"} <= set(focused)

    # what has the focus keeps it when an update replaces the page's body
    link = browser.switch_to.active_element.get_attribute("id")
    sidecar.post(build_run("third").SerializeToString())
    wait.until(lambda _: "invoke_agent third" in browser.find_element(By.ID, "live").text)
    assert browser.switch_to.active_element.get_attribute("id") == link
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait.until(lambda _: "/runs/" in browser.current_url)
    assert "execute_tool search" in browser.find_element(By.CLASS_NAME, "waterfall").text

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    for url in (base, browser.current_url):
        browser.get(url)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360

    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    requested = {
        message["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"
    }
    assert all(url.startswith((base, "data:")) for url in requested), requested
    assert sidecar.stop() == 0


@pytest.mark.browser
def test_axe_finds_nothing_in_the_live_pages_in_any_theme_and_on_a_phone(
    start: Start, browser: Any, axe: str, tmp_path: Path
) -> None:
    settings = tmp_path / "sidecar.toml"
    settings.write_text('[[budget]]\nname = "all"\nusd_per_day = 0.01\n')
    sidecar = start("--config", str(settings))
    base = f"http://127.0.0.1:{sidecar.http_port}"
    look(browser, base, "light", "screen")
    assert violations(browser, axe) == []  # of a page without any run
    sidecar.post(build_run("planner").SerializeToString())
    sidecar.post(build_run("unpriced", model="nobody-knows-this").SerializeToString())
    sidecar.wait_until_stored()
    sidecar.wait_for(lambda: "2 runs today" in show(sidecar))
    run = re.search(r"/runs/[0-9a-f]{16}", show(sidecar))
    assert run
    for address in (base, f"{base}/?q=planner", base + run[0], f"{base}/runs/ffffffffffffffff", f"{base}/login"):
        for theme in THEMES:
            for size in SIZES:
                look(browser, address, theme, size)
                assert (address, theme, size, violations(browser, axe)) == (address, theme, size, [])
    assert sidecar.stop() == 0
