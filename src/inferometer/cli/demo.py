"""``inferometer demo``: a small agent traced, sample sessions imported, an audit written; all on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from inferometer.cli.options import json_option, print_json
from inferometer.cli.output import OutputFile
from inferometer.schema.wording import counted


@click.command("demo")
@click.option("--out", default="audit.html", show_default=True, type=OutputFile(), metavar="FILE", help="The report.")
@click.option("--store", "store_url", metavar="URL", help="Keep the traces there [default: a store that is removed].")
@json_option
def command(out: str, store_url: str | None, as_json: bool) -> None:
    """Trace a small agent against a bundled model server, import sample sessions, write an audit."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="inferometer-demo-") as folder:
        store = store_url or str(Path(folder, "store.sqlite"))
        calls = trace_agent(store)
        _say(as_json, f"traced a small agent: {calls} HTTP requests to its models, retries among them")
        imported = import_samples(store, Path(folder, "samples"))
        _say(as_json, f"imported {imported['inferences']} model calls from {imported['files']} sample files")
        audit = write_audit(store, Path(out))
    figures = headline(audit)
    if as_json:
        print_json({"report": str(Path(out).absolute()), "traced": calls, "imported": imported, **figures})
        return
    for line in describe(figures):
        click.echo(line)
    click.echo(f"report: {Path(out).absolute()} ({time.perf_counter() - begun:.1f} s)")


def trace_agent(store: str) -> int:
    """Run the demo agent with hooks installed, straight into a store; return the number of HTTP requests it made."""
    import inferometer
    from inferometer.testing.demo_agent import run_demo_agent

    inferometer.configure(service="demo-agent", store=store)
    inferometer.instrument("openai")
    try:
        return run_demo_agent()
    finally:
        inferometer.uninstrument("openai")
        inferometer.shutdown()


def import_samples(store: str, folder: Path) -> dict[str, int]:
    """Generate the sample sessions below a folder and import them; return what was added."""
    from inferometer.ingest.importing import import_paths
    from inferometer.store import open_store
    from inferometer.testing.sample_sessions import write_sample_sessions

    write_sample_sessions(folder)
    with open_store(store) as opened:
        report = import_paths(opened, [folder])
    return {name: getattr(report, name) for name in ("files", "spans", "runs", "inferences", "tool_calls")}


def write_audit(store: str, out: Path) -> dict[str, Any]:
    """Write the report as ``inferometer audit`` does and return its document."""
    from inferometer.cli import audit

    with tempfile.TemporaryDirectory(prefix="inferometer-demo-") as folder:
        document = Path(folder, "audit.json")
        words = ["--store", store, "--html", str(out), "--json", str(document)]
        with contextlib.redirect_stdout(io.StringIO()):
            audit.command.main(args=words, prog_name="inferometer audit", standalone_mode=False)
        audited: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
    return audited


def headline(audit: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of an audit that a newcomer looks for first."""
    totals, fanout = audit["totals"], audit["fanout"]
    per_run = fanout.get("inferences_per_run") or {}
    return {
        "runs": totals["runs"],
        "inferences": totals["inferences"],
        "cost_usd": totals["cost_usd"],
        "cost_assumed_calls": totals["unsplit"],
        "inferences_per_run_p50": per_run.get("p50"),
        "inferences_per_run_max": per_run.get("max"),
        "cache_read_share": audit["prefix"]["cache_read_share"],
        "cache_read_calls": audit["prefix"]["cache_read_calls"],
        "waste": len(audit["waste"]),
        "recommendations": len(audit["recommendations"]),
        "scenarios": len(audit["scenarios"]),
    }


def describe(figures: dict[str, Any]) -> list[str]:
    """Return the headline as lines of text; an unknown is called so."""

    def known(value: Any, form: str = "{}") -> str:
        return "unknown" if value is None else form.format(value)

    return [
        f"{counted(figures['inferences'], 'model call')} in {counted(figures['runs'], 'run')}, "
        f"{'about ' if figures['cost_assumed_calls'] else ''}{_dollars(figures['cost_usd'])} at list price",
        f"calls per run: {known(figures['inferences_per_run_p50'], '{:g}')} in the median, "
        f"{known(figures['inferences_per_run_max'], '{:g}')} at most",
        f"input read from caches: {known(figures['cache_read_share'], '{:.0%}')}, "
        f"by the {counted(figures['cache_read_calls'], 'call')} that say",
        f"{counted(figures['waste'], 'kind of waste', 'kinds of waste')}, "
        f"{counted(figures['recommendations'], 'recommendation')}, "
        f"{counted(figures['scenarios'], 'replay')} on other hardware",
    ]


def _dollars(amount: str | None) -> str:
    return "an unknown amount" if amount is None else f"${float(amount):,.2f}"


def _say(as_json: bool, line: str) -> None:
    if not as_json:
        click.echo(line)
