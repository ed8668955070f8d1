"""The audit as one HTML file: everything inside it, nothing fetched, opened from disk."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from inferometer.reports.contexts import AuditPage
from inferometer.reports.environment import environment
from inferometer.reports.evidence import Links
from inferometer.reports.page import audit_page


def render_audit(document: Mapping[str, Any], links: Links | None = None) -> str:
    """Return the audit's page as HTML.

    Args:
        document: the ``audit`` document.
        links: how calls are found in the tracing UI; none where None.
    """
    return render_page(audit_page(document, links))


def render_page(page: AuditPage) -> str:
    """Return a page's context as HTML: a pure function of it."""
    template = environment().get_template("audit.html.j2")
    return template.render(
        page=page,
        styles=_asset("audit.css"),
        script=_asset("audit.js"),
        vega=_vega() if page.charts else Markup(""),
    )


def _asset(name: str) -> Markup:
    return Markup((files("inferometer.reports") / "templates" / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _vega() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, safe inside a script element."""
    # bundling takes longer than all else in a page, and its outcome changes with the package alone
    with contextlib.suppress(OSError, RuntimeError, UnicodeDecodeError):
        return Markup(kept_script().read_bytes().decode())
    import vl_convert

    # its stub wants a snippet; without one the whole of Vega-Embed comes, as window.vegaEmbed
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    script = re.sub(r"</(script)", r"<\\/\1", bundle, flags=re.IGNORECASE)
    with contextlib.suppress(OSError, RuntimeError):
        _write(kept_script(), script.encode())
    return Markup(script)


def kept_script() -> Path:
    """Return where, in the user's cache directory, the charts' script is kept between audits.

    Raises:
        RuntimeError: the user has no home.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path("~/.cache").expanduser()) / "inferometer" / "reports"
    return folder / f"vega-{version('vl-convert-python')}.js"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)  # whole or not at all: two processes may do this at once
    finally:
        temporary.unlink(missing_ok=True)
