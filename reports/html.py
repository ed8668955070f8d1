"""The audit as one HTML file: everything inside it, nothing fetched, opened from disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inferometer.reports.contexts import AuditPage
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


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the environment of all templates: autoescape on, an undefined name is an error."""
    return Environment(
        loader=PackageLoader("inferometer.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> Markup:
    return Markup((files("inferometer.reports") / "templates" / name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _vega() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, safe inside a script element."""
    import vl_convert

    # its stub wants a snippet; without one the whole of Vega-Embed comes, as window.vegaEmbed
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return Markup(re.sub(r"</(script)", r"<\\/\1", bundle, flags=re.IGNORECASE))
