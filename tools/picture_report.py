"""Look at a report as a reader's browser does: check it, and keep pictures of it.

    python tools/picture_report.py [REPORT.html] [--images docs/images] [--axe node_modules/axe-core/axe.min.js]

Without a report, the demo's sessions are audited with a small ledger. Checked in headless Chromium, light and dark, on
a screen and on a phone: no console error, no request, size, first paint, every chart drawn, nothing wider than the
screen and, where axe-core is at hand (``npm install axe-core``), nothing serious or critical with everything unfolded.
Prints a line for each check and exits with 1 where one fails.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 2_500_000
LIMIT_PAINT_MS = 1000
SCREEN, PHONE = (1280, 800), (390, 844)
CHARTS = (
    *("savings", "cost-over-time", "fanout-inferences", "fanout-cost-usd", "hardware-pareto", "break-even", "roofline"),
    *("ratio-horizon", "bill-bridge"),
)
"""Charts of Vega; the icicle, the waterfall of a run and the split by kind of token are made of elements."""
PARTS = (".icicle", ".timeline", ".split-block")
LEDGER = """
[training]
lifetime_days = 180
[[training.run]]
name = "router, fine-tuned"
gpu_hours = 60
usd_per_gpu_hour = 2.4
peak_flops_per_gpu = 9.89e14
[inference]
growth_per_month = 0.05
growth_per_month_low = 0.0
growth_per_month_high = 0.1
"""
PICTURES = {
    # name: (theme, size, selector of what is pictured and height at most; the top of the page where None)
    "audit-summary": ("light", SCREEN, None, 820),
    "audit-dark": ("dark", SCREEN, None, 820),
    "audit-phone": ("light", PHONE, None, 1500),
    "audit-actions": ("light", SCREEN, "#actions", 1000),
    "audit-cost": ("light", SCREEN, "#cost", 1100),
    "audit-fanout": ("light", SCREEN, "#fanout", 1300),
    "audit-hardware": ("light", SCREEN, "#hardware", 1560),
    "audit-training": ("light", SCREEN, "#training", 760),
}


def make_report(folder: Path) -> Path:
    """Audit the demo's sessions with a ledger and return the report."""
    program = [sys.executable, "-m", "inferometer"]
    store, report, ledger = folder / "demo.sqlite", folder / "audit.html", folder / "ledger.toml"
    ledger.write_text(LEDGER)
    for words in (
        ["demo", "--store", str(store), "--out", str(folder / "demo.html")],
        ["audit", "--store", str(store), "--ledger", str(ledger), "--html", str(report)],
    ):
        subprocess.run([*program, *words], check=True, stdout=subprocess.DEVNULL)
    return report


@contextmanager
def opened_browser() -> Iterator[Any]:
    """Open headless Chromium that keeps its console and its network log."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        sys.exit("this needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(120)
    try:
        yield browser
    finally:
        browser.quit()


def show(browser: Any, report: Path, theme: str, size: tuple[int, int]) -> None:
    """Open a report at a size in a theme and draw all of its charts."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size is PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(report.resolve().as_uri())
    browser.execute_async_script(
        "const done = arguments[0];"
        "if (window.drawAllCharts) { window.drawAllCharts().then(() => done()); } else { done(); }"
    )


def check(browser: Any, report: Path, axe: Path | None) -> Iterator[tuple[str, str, bool]]:
    """Yield what was checked, what was found and whether that is well."""
    size = report.stat().st_size
    yield "size", f"{size / 1e6:.2f} MB", size <= LIMIT_BYTES
    for theme in ("light", "dark"):
        for name, wide in (("screen", SCREEN), ("phone", PHONE)):
            show(browser, report, theme, wide)
            where = f"{theme}, {name}"
            paint = browser.execute_script(
                "const e = performance.getEntriesByName('first-contentful-paint')[0]; return e ? e.startTime : null"
            )
            shown = "none" if paint is None else f"{paint:.0f} ms"
            yield f"first paint ({where})", shown, paint is not None and paint < LIMIT_PAINT_MS
            over = browser.execute_script("return document.documentElement.scrollWidth") - wide[0]
            yield f"width ({where})", f"{max(over, 0)} px too wide", over <= 0
            if axe is not None:
                yield f"axe-core ({where})", *_axe(browser, axe.read_text())
    missing = browser.execute_script(
        "return arguments[0].filter(id => !document.querySelector('[data-chart=' + id + '] svg'))"
        ".concat(arguments[1].filter(part => !document.querySelector(part)))",
        CHARTS,
        PARTS,
    )
    yield "charts", f"missing: {', '.join(missing)}" if missing else "all drawn", not missing
    errors = [entry["message"] for entry in browser.get_log("browser")]
    yield "console", "; ".join(errors) or "silent", not errors
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    asked = [url for url in asked if not url.startswith(("file:", "data:"))]
    yield "requests", ", ".join(asked) or "none", not asked


def _axe(browser: Any, source: str) -> tuple[str, bool]:
    browser.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    browser.execute_script(source)
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document).then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes.length])))"
    )
    grave = [violation for violation in found if violation[0] in {"serious", "critical"}]
    words = "; ".join(f"{impact} {id_} ({count})" for impact, id_, count in found)
    return words or "nothing", not grave


def picture(browser: Any, report: Path, folder: Path) -> None:
    """Write every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (theme, size, selector, height) in PICTURES.items():
        show(browser, report, theme, size)
        top, tall = 0, height
        if selector is not None:
            top, tall = browser.execute_script(
                "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
                "return [box.top + window.scrollY + 20, box.height]",
                selector,
            )
        clip = {"x": 0, "y": top, "width": size[0], "height": min(tall, height), "scale": 1}
        asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        taken = browser.execute_cdp_cmd("Page.captureScreenshot", asked)
        (folder / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))
        print(folder / f"{name}.png")


def main() -> int:
    """Check a report and picture it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?", type=Path)
    parser.add_argument("--images", type=Path, help="write the pictures into this folder")
    parser.add_argument("--axe", type=Path, help="axe-core's axe.min.js")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, opened_browser() as browser:
        report = asked.report or make_report(Path(folder))
        found = list(check(browser, report, asked.axe))
        for what, words, well in found:
            print(f"{'ok    ' if well else 'FAILED'} {what}: {words}")
        if asked.images:
            picture(browser, report, asked.images)
    return int(not all(well for *_, well in found))


if __name__ == "__main__":
    sys.exit(main())
