"""The audit as one file: self-contained, escaped, readable without a network, and alive in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.accessibility import SIZES, THEMES, look, violations

from inferometer.analyzer.audit import Knowledge, build_audit
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Ledger, Monthly, Training, TrainingRun
from inferometer.reports import html
from inferometer.reports.commands import Commands, selection_words
from inferometer.reports.contexts import AuditPage, Block, Cards, Chart, Table
from inferometer.reports.document import document_text
from inferometer.reports.environment import environment
from inferometer.reports.evidence import Links
from inferometer.reports.html import render_audit
from inferometer.reports.numbers import GAP
from inferometer.reports.page import audit_page
from inferometer.schema.records import ToolOffered
from inferometer.testing.workload import LARGE, FlatPrices, Workload

GENERATED = datetime(2026, 6, 2, 12, 0, tzinfo=UTC)
LIMIT_BYTES = 2_500_000
TEMPLATES = ("audit.html.j2", "blocks.html.j2")


class Outline(HTMLParser):
    """Collects ids, references and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.fetched: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.targets.append(str(values.get("href")))
        for name in ("src", "data", "action", "poster"):
            if values.get(name):
                self.fetched.append(str(values[name]))
        if tag == "link":
            self.fetched.append(str(values.get("href")))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="session")
def page(audit_document: dict[str, Any]) -> str:
    return render_audit(audit_document)


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    return parsed


def test_the_page_is_one_file_within_its_size(page: str) -> None:
    assert len(page.encode()) <= LIMIT_BYTES
    assert outline(page).fetched == ["data:,"]
    assert "default-src 'none'" in page


def test_ids_are_unique_and_inner_links_lead_somewhere(page: str) -> None:
    found = outline(page)
    assert len(found.ids) == len(set(found.ids))
    assert {target[1:] for target in found.targets if target.startswith("#")} <= set(found.ids)


def test_a_hostile_name_is_escaped_and_cut(page: str) -> None:
    assert "<script>window.broken" not in page
    assert "&lt;script&gt;window.broken" in page
    assert "x" * 200 not in page


def test_no_name_that_a_trace_can_hold_gets_into_a_page_unescaped(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>'; rm -rf ~ #" + "n" * 10_000
    work = Workload(FlatPrices({evil: LARGE}))
    for number in range(4):
        run = work.run(
            number * 90_000,
            agent=evil,
            session=evil,
            success=number > 1,
            tags={evil: evil, "version": f"{number}{evil}"},
        )
        for turn in range(3):
            at = number * 90_000 + turn * 20
            offered = {"tools_offered": [ToolOffered(evil, 900), ToolOffered("used", 9)]}
            work.call(
                run, at, 5, model=evil, provider=evil, agent=evil, inference=offered, recorded_cost_usd="9",
                input_fresh=9_000, output=9,
            )  # fmt: skip
            work.tool(run, at + 6, name="used", fingerprint="same", result_tokens=9_000, agent=evil)
    dataset = work.dataset()
    ledger = Ledger(
        training=Training(run=(TrainingRun(name=evil, usd=Decimal(5), gpu_hours=Decimal(1), flop=Decimal(9)),))
    )
    document = build_audit(
        dataset,
        Knowledge(ledger=ledger),
        generated_at=GENERATED,
        replayed=replay_audit(dataset, ledger),
        where=[("agent", evil)],
    )
    found = render_audit(document, Links(None, Commands("s.db", selection_words(document["window"]))))
    assert "<img src=x" not in found
    assert found.count("</script>") == found.count("<script")
    assert "n" * 500 not in re.sub(r"<script.*?</script>|<code>.*?</code>", "", found, flags=re.DOTALL)
    for command in re.findall(r"All of it: <code>(.*?)</code>", found, re.DOTALL):
        assert all("rm" not in word or evil in word for word in shlex.split(unescape(command)))


def test_the_same_document_gives_the_same_page(audit_document: dict[str, Any], page: str) -> None:
    assert render_audit(audit_document) == page


def test_the_script_of_the_charts_is_kept_and_changes_nothing(
    audit_document: dict[str, Any], page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    html._vega.cache_clear()
    assert render_audit(audit_document) == page
    assert [path.name for path in html.kept_script().parent.iterdir()] == [html.kept_script().name]
    html._vega.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert render_audit(audit_document) == page
    html._vega.cache_clear()


def test_a_cache_that_cannot_be_written_is_done_without(
    audit_document: dict[str, Any], page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    html._vega.cache_clear()
    assert render_audit(audit_document) == page


def test_a_document_read_back_from_json_gives_the_same_page(audit_document: dict[str, Any], page: str) -> None:
    assert render_audit(json.loads(document_text(audit_document))) == page


@pytest.mark.parametrize("calls", [(), ("unlisted",), ("large",), ("large", "unlisted")])
def test_inner_links_lead_somewhere_however_little_there_is(calls: tuple[str, ...]) -> None:
    work = Workload()
    for model in calls:
        work.call(work.run(), model=model, input_fresh=5, output=1)
    found = outline(render_audit(build_audit(work.dataset(), Knowledge(), generated_at=GENERATED)))
    assert {target[1:] for target in found.targets if target.startswith("#")} <= set(found.ids)


def test_running_costs_of_the_ledger_stand_beside_inference_and_training() -> None:
    work = Workload()
    for day in range(11):
        work.call(work.run(day * 86_400), day * 86_400, 0, input_fresh=100_000, output=0)
    ledger = Ledger(
        training=Training(lifetime_days=Decimal(365), run=(TrainingRun(name="a", usd=Decimal(365)),)),
        development=Monthly(usd_per_month=Decimal(50)),
    )
    page = audit_page(build_audit(work.dataset(), Knowledge(ledger=ledger), generated_at=GENERATED))
    table = next(block for block in blocks(page) if isinstance(block, Table) and block.id == "running")
    assert [[cell.text.replace(GAP, " ") for cell in row] for row in table.rows] == [
        ["Inference, at the traced rate", "$33.48", "29 %"],
        ["Training, written off", "$30.44", "27 %"],
        ["Development", "$50.00", "44 %"],
    ]


def test_every_chapter_has_something_to_say(audit_document: dict[str, Any]) -> None:
    found = audit_page(audit_document)
    assert [chapter.id for chapter in found.chapters] == [
        *("actions", "cost", "fanout", "waste", "hardware", "training", "change", "record")
    ]
    assert all(chapter.lead and chapter.blocks for chapter in found.chapters)


def blocks(page: AuditPage) -> list[Block]:
    return [block for chapter in page.chapters for block in chapter.blocks]


def test_every_figure_says_how_it_was_counted(audit_document: dict[str, Any]) -> None:
    for block in blocks(audit_page(audit_document)):
        if isinstance(block, Table | Chart):
            assert block.why is not None or block.id.endswith("-evidence"), block.id
        if isinstance(block, Cards):
            assert all(card.why.method for card in block.cards)


def test_charts_hold_no_colour_of_their_own(audit_document: dict[str, Any]) -> None:
    specs = json.dumps(audit_page(audit_document).charts)
    assert not re.search(r"#[0-9a-fA-F]{6}|steelblue|\"red\"", specs)
    assert "http" not in specs


def test_links_lead_to_the_users_own_tracing_ui(audit_document: dict[str, Any]) -> None:
    linked = render_audit(audit_document, Links("https://traces.example/{trace_id}?span={span_id}"))
    call = audit_document["costliest_calls"][0]
    assert f"https://traces.example/{call['trace_id']}?span={call['span_id']}" in linked


def test_an_empty_store_says_what_to_do_first() -> None:
    empty = Workload().dataset()
    document = build_audit(empty, Knowledge(), generated_at=GENERATED)
    assert "inferometer import" in " ".join(outline(render_audit(document)).text)


def test_one_unpriced_call_is_a_whole_report() -> None:
    work = Workload()
    work.call(work.run(), model="unlisted", input_fresh=5, output=1)
    document = build_audit(work.dataset(), Knowledge(), generated_at=GENERATED)
    text = " ".join(outline(render_audit(document)).text)
    assert "no call has a price" in text
    assert document["totals"]["cost_usd"] is None


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_hold_no_arithmetic(name: str) -> None:
    source = environment().loader.get_source(environment(), name)[0]  # type: ignore[union-attr]
    expressions = re.findall(r"{{(.*?)}}|{%(.*?)%}", source, re.DOTALL)
    for expression in (one or other for one, other in expressions):
        bare = re.sub(r"\"[^\"]*\"", "", expression.strip("-"))
        assert not re.search(r"[+*/]|\s-\s|\|\s*(?!tojson)\w", bare), expression


def test_templates_use_every_field_of_their_context() -> None:
    used = "".join(environment().loader.get_source(environment(), name)[0] for name in TEMPLATES)  # type: ignore[union-attr]
    from inferometer.reports import contexts

    for kind in vars(contexts).values():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            for field in dataclasses.fields(kind):
                if (kind, field.name) == (Chart, "spec"):
                    continue  # goes in through page.charts
                assert re.search(rf"\.{field.name}\b", used), f"{kind.__name__}.{field.name} is in no template"


def _opened(browser: Any, page: str, folder: Path) -> None:
    path = folder / "audit.html"
    path.write_text(page, encoding="utf-8")
    browser.get(path.as_uri())


def _console(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


@pytest.mark.browser
def test_the_page_lives_in_a_browser_without_errors_or_requests(browser: Any, page: str, tmp_path: Path) -> None:
    _opened(browser, page, tmp_path)
    browser.execute_async_script("const done = arguments[0]; window.drawAllCharts().then(() => done())")
    charts = browser.execute_script("return document.querySelectorAll('[data-chart] svg').length")
    assert charts == page.count('data-chart="') > 4
    assert _console(browser) == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert browser.execute_script("return window.broken") is None


@pytest.mark.browser
def test_first_paint_comes_within_a_second(browser: Any, page: str, tmp_path: Path) -> None:
    _opened(browser, page, tmp_path)
    deadline = time.monotonic() + 10
    painted = None
    while painted is None and time.monotonic() < deadline:
        painted = browser.execute_script(
            "const e = performance.getEntriesByName('first-contentful-paint')[0]; return e ? e.startTime : null"
        )
    assert painted is not None
    assert painted < 1000


@pytest.mark.browser
def test_tables_sort_and_filter_and_the_theme_turns(browser: Any, page: str, tmp_path: Path) -> None:
    _opened(browser, page, tmp_path)
    script = browser.execute_script
    first = "return document.querySelector('#table-fanout-agents tbody td').textContent"
    script("document.querySelectorAll('#table-fanout-agents .sort')[0].click()")
    assert script(first).startswith("<script>")
    script("document.querySelectorAll('#table-fanout-agents .sort')[0].click()")
    assert script(first) == "writer"
    shown = "return [...document.querySelectorAll('#table-costliest-calls tbody tr')].filter(r => !r.hidden).length"
    everything = script(shown)
    script(
        "const f = document.querySelector('[data-filter=costliest-calls]'); f.value = 'writer';"
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert 0 < script(shown) < everything
    background = "return getComputedStyle(document.body).backgroundColor"
    script("document.getElementById('theme').click()")
    light = script(background)
    script("document.getElementById('theme').click()")
    assert script(background) != light
    unfolded = "return document.querySelector('#table-costliest-calls').closest('details').open"
    assert not script(unfolded)
    script("document.querySelector('#table-by-model').closest('.block').querySelector('details.why').open = true")
    script("document.querySelector('a[href=\"#table-costliest-calls\"]').click()")
    deadline = time.monotonic() + 5
    while not script(unfolded) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert script(unfolded)
    script("document.querySelector('#actions details.why summary').click()")
    assert script("return document.querySelector('#actions details.why').open")
    assert _console(browser) == []


@pytest.mark.browser
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing(browser: Any, axe: str, page: str, tmp_path: Path, theme: str, size: str) -> None:
    path = tmp_path / "audit.html"
    path.write_text(page, encoding="utf-8")
    look(browser, path.as_uri(), theme, size)
    browser.execute_async_script("const done = arguments[0]; window.drawAllCharts().then(() => done())")
    assert violations(browser, axe) == []


@pytest.mark.browser
def test_axe_finds_a_fault_that_is_there(browser: Any, axe: str, page: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.html"
    path.write_text(page.replace("--soft: #5a5f69", "--soft: #d0d0d0").replace('<html lang="en">', "<html>"))
    look(browser, path.as_uri(), "light", "screen")
    found = " ".join(violations(browser, axe))
    assert "serious color-contrast" in found
    assert "serious html-has-lang" in found


@pytest.mark.browser
def test_the_page_fits_a_phone(browser: Any, page: str, tmp_path: Path) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    _opened(browser, page, tmp_path)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
