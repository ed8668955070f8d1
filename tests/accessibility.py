"""What axe-core finds in a page, with everything unfolded: light and dark, on a screen and on a phone."""

from __future__ import annotations

from typing import Any

SIZES = {"screen": (1280, 800, False), "phone": (390, 844, True)}
THEMES = ("light", "dark")


def look(browser: Any, address: str, theme: str, size: str) -> None:
    """Open a page as a reader with that theme and device does."""
    width, height, mobile = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(address)


def violations(browser: Any, axe: str) -> list[str]:
    """Return every rule of axe-core that the open page breaks, however grave, with the first element that does."""
    browser.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    browser.execute_script(axe)
    found: list[str] = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document).then(r => done(r.violations.map("
        "v => v.impact + ' ' + v.id + ' (' + v.nodes.length + '): ' + v.nodes[0].html.slice(0, 200))))"
    )
    return found
