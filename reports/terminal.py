"""What commands print for people: tables and trees; names from traces are shown as plain text, never as markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from inferometer.analyzer.accounting import METERS, Accounting, Group
from inferometer.analyzer.run_tree import Node, RunTree
from inferometer.analyzer.runs import RunSummary
from inferometer.reports.console import open_console
from inferometer.reports.numbers import bound, estimated
from inferometer.schema.moments import is_date
from inferometer.schema.records import SpanKind, Status
from inferometer.schema.wording import counted

UNKNOWN = "unknown"
NOTHING = (
    "nothing here yet: `inferometer import PATH` reads traces, inferometer.instrument() hooks a program's clients; "
    "or widen --since, --until and --where"
)
COLUMN_GAP = 2
WIDE = 120
"""Columns from which a line has room for full numbers; what is no terminal has it too."""

_KIND_STYLES = {
    SpanKind.AGENT: "bold cyan",
    SpanKind.WORKFLOW: "bold cyan",
    SpanKind.STEP: "cyan",
    SpanKind.INFERENCE: "green",
    SpanKind.TOOL: "yellow",
    SpanKind.RETRIEVAL: "magenta",
    SpanKind.OTHER: "dim",
}
_METER_TITLES = ("fresh in", "cache read", "write 5m", "write 1h", "output", "reasoning")


def plain(text: object, width: int = 80) -> Text:
    """Return a text from a trace without control characters, cut to a width."""
    shown = "".join(character if unicodedata.category(character)[0] != "C" else " " for character in str(text))
    return Text(shown if len(shown) <= width else shown[: width - 1] + "…")


def show_money(amount_usd: Decimal | None) -> str:
    """Return dollars as shown: to the cent above one dollar, else with enough digits to tell it from nothing."""
    if amount_usd is None:
        return UNKNOWN
    if amount_usd == 0:
        return "$0"
    if abs(amount_usd) >= 1:
        return f"${amount_usd:,.2f}"
    return f"${amount_usd:.6f}".rstrip("0") if abs(amount_usd) >= Decimal("0.000001") else f"${amount_usd:.1e}"


def show_count(count: int | None) -> str:
    """Return a number with thousands set apart."""
    return UNKNOWN if count is None else f"{count:,}"


def show_tokens(count: int | None, width: int) -> str:
    """Return a number of tokens, in full where a line has room for it."""
    if count is None or count < 100_000 or width >= WIDE:
        return show_count(count)
    return f"{count / 1e6:,.1f}M" if count >= 1_000_000 else f"{count / 1e3:,.0f}k"


def show_duration(duration_ns: int | None) -> str:
    """Return a duration in the unit that fits."""
    if duration_ns is None:
        return UNKNOWN
    seconds = duration_ns / 1e9
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 120:
        return f"{seconds:.1f} s"
    if abs(seconds) < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def show_time(start_ns: int | None) -> str:
    """Return a time (UTC) to the second; an offset from the start of a recording is no date."""
    if not is_date(start_ns):
        return UNKNOWN
    try:
        return datetime.fromtimestamp(start_ns // 1_000_000_000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def print_accounting(accounting: Accounting, console: Console | None = None) -> None:
    """Print the ``cost`` document."""
    console = console or open_console()
    total = accounting.total
    shows_charges, shows_recorded = bool(total.charges), bool(total.recorded)
    contracted = any(group.effective_cost_usd != group.cost_usd for group in (*accounting.groups, total))
    meters = [name for name in METERS if total.meters[name]]
    titles = [title for name, title in zip(METERS, _METER_TITLES, strict=True) if name in meters]
    extra = [*(["contracted", "effective"] if contracted else []), *(["recorded"] if shows_recorded else [])]
    titles = ["calls", "runs", *titles, "cost", *extra, *(["charges"] if shows_charges else []), "unpriced"]

    def row(group: Group) -> list[str]:
        cells = [show_count(group.inferences), show_count(group.runs)]
        for meter in meters:
            over = group.meters_open["cache_read"] if meter == "input_fresh" else 0
            cells.append(bound(show_tokens(group.meters[meter], console.width), group.meters_open[meter], over))
        cells.append(estimated(show_money(group.cost_usd), group.unpriced + group.partial, group.unsplit))
        if contracted:
            cells += [show_money(group.contracted_cost_usd), show_money(group.effective_cost_usd)]
        if shows_recorded:
            cells.append(show_money(group.recorded_cost_usd))
        if shows_charges:
            cells.append(show_money(group.charges_usd))
        cells.append(show_count(group.unpriced) if group.unpriced else "")
        return cells

    groups = [*accounting.groups, total]
    rows = [row(group) for group in groups]
    kept = _fitting(titles, rows, console.width - KEY_WIDTH, _LEFT_OUT)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(accounting.by.removeprefix("attribute:"), min_width=KEY_WIDTH, overflow="fold")
    for place in kept:
        table.add_column(titles[place], justify="right", no_wrap=True)
    for group, cells in zip(groups, rows, strict=True):
        name = Text("total") if group is total else plain(UNKNOWN if group.key is None else group.key, 60)
        table.add_row(name, *(cells[place] for place in kept), style="bold" if group is total else "")
    console.print(table)
    left_out = [title for place, title in enumerate(titles) if place not in kept and title != "unpriced"]
    _print_lines(console, [f"for want of width without: {', '.join(left_out)}"] if left_out else [])
    _print_lines(console, _accounting_notes(accounting))


KEY_WIDTH, RUN_WIDTH, NAME_WIDTH = 16, 16, 12
"""Columns that a group's key, a run's id and a run's name have at least."""

_LEFT_OUT = ("reasoning", "runs", "write 1h", "write 5m", "cache read", "fresh in", "output", "calls")
_RUNS_LEFT_OUT = ("tools", "duration", "start (UTC)", "calls", "tokens")
"""Titles in the order in which a narrow terminal goes without them; money is never left out, and nothing is cut."""


def _fitting(titles: list[str], rows: list[list[str]], width: int, left_out: Sequence[str]) -> list[int]:
    """Return the places of the columns that have room; one without any figure needs none."""
    widths = [max(map(len, column)) + COLUMN_GAP for column in zip(titles, *rows, strict=True)]
    kept = [place for place, title in enumerate(titles) if title != "unpriced" or any(row[place] for row in rows)]
    for title in left_out:
        if sum(widths[place] for place in kept) <= width:
            break
        kept = [place for place in kept if titles[place] != title]
    return kept


def _accounting_notes(accounting: Accounting) -> Iterable[str]:
    total = accounting.total
    if not total.inferences and not total.charges:
        yield NOTHING
    yield f"prices: {accounting.price_list}, each call by the list of its day (list kept to {accounting.prices_as_of})"
    if total.interval:
        span = total.interval["cost_usd"]
        yield f"sampled traces, weighted: the total cost lies between ${span.low:,.4f} and ${span.high:,.4f} (95 %)"
    if total.estimated:
        yield f"{counted(total.estimated, 'call')} with a counted or estimated meter"
    if total.partial:
        yield f"{counted(total.partial, 'priced call')} with a meter that is unknown or has no price"
    for name, title in zip(METERS, _METER_TITLES, strict=True):
        if total.meters[name] and total.meters_open[name]:
            yield f"{title}: {counted(total.meters_open[name], 'call')} may hold more without saying so"
    for reason, calls in accounting.unpriced_reasons.items():
        yield f"unpriced, {counted(calls, 'call')}: {reason}"
    for note, calls in accounting.price_notes.items():
        yield f"{counted(calls, 'call')}: {note}"
    for agreement in accounting.agreements:
        yield (
            f"{agreement.name} ({agreement.kind}): {show_money(agreement.used_usd)} used of "
            f"{show_money(agreement.amount_usd)}, {show_money(agreement.unused_usd)} unused"
        )
    for finding in accounting.price_findings:
        yield f"{finding.model}: {finding.reason}"


def print_runs(
    summaries: Sequence[RunSummary], of: int, console: Console | None = None, *, search: str | None = None
) -> None:
    """Print a list of runs; ``of`` is how many there are, ``search`` the text they were searched for."""
    console = console or open_console()
    titles = ["start (UTC)", "duration", "calls", "tools", "tokens", "cost"]
    rows = [
        [
            show_time(summary.run.start_ns),
            show_duration(summary.duration_ns),
            show_count(summary.inferences),
            show_count(summary.tool_calls),
            bound(show_tokens(summary.tokens, console.width), summary.usage_open),
            estimated(show_money(summary.cost_usd), summary.unpriced + summary.partial, summary.unsplit),
        ]
        for summary in summaries
    ]
    kept = _fitting(titles, rows, console.width - RUN_WIDTH - COLUMN_GAP - NAME_WIDTH, _RUNS_LEFT_OUT)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("name", min_width=NAME_WIDTH, overflow="fold")
    for place in kept:
        table.add_column(titles[place], justify="right" if place else "left", no_wrap=True)
    for summary, cells in zip(summaries, rows, strict=True):
        run = summary.run
        name = plain(run.agent_name or run.name, 48)
        if run.status is Status.ERROR:
            name.append(" failed", "red")
        if run.is_open:
            name.append(" open", "yellow")
        table.add_row(run.run_id, name, *(cells[place] for place in kept))
    console.print(table)
    left = f"{len(summaries):,} of {counted(of, 'run')}" if len(summaries) < of else counted(of, "run")
    nothing = NOTHING if search is None else f"no run's id, name, agent, session, user or model holds {search!r}"
    _print_lines(console, [left] if of else [left, nothing])


def print_tree(tree: RunTree, *, why: bool = False, console: Console | None = None) -> None:
    """Print one run as a tree; ``why`` adds what was decided about each call and the prices it has."""
    console = console or open_console()
    summary = tree.summary
    title = plain(summary.run.agent_name or summary.run.name)
    title.stylize("bold")
    title.append(
        f"  run {summary.run.run_id}  {show_time(summary.run.start_ns)}  {show_duration(summary.duration_ns)}  "
        f"{counted(summary.inferences, 'call')}  {bound(show_count(summary.tokens), summary.usage_open)} tokens  "
        f"{estimated(show_money(summary.cost_usd), summary.unpriced + summary.partial, summary.unsplit)}",
        "default not bold",
    )
    top = Tree(title, guide_style="dim")
    stack = [(node, top) for node in reversed(tree.roots)]
    while stack:
        node, parent = stack.pop()
        branch = parent.add(_label(node))
        if why:
            for line in _why(node):
                branch.add(Text(line, "dim italic"))
        stack.extend((child, branch) for child in reversed(node.children))
    console.print(top)
    if summary.unpriced:
        _print_lines(console, [f"{counted(summary.unpriced, 'unpriced call')}; --why says why"])
    doubles = sum(node.possible_double is not None for root in tree.roots for node in root.walk())
    if doubles:
        _print_lines(console, [f"{counted(doubles, 'call')} may be counted twice; --why names their possible doubles"])


def _label(node: Node) -> Text:
    span = node.span
    label = plain(span.name)
    label.stylize(_KIND_STYLES[span.kind])
    if node.inference is not None:
        call = node.inference.inference
        meters = call.meters
        if call.model and call.model not in span.name:
            label.append(" ").append_text(plain(call.model))
        label.append(f"  {show_count(meters.input_total)} in", "default")
        if meters.cache_read:
            label.append(f" ({meters.cache_read:,} cached)", "default")
        label.append(f", {show_count(meters.output)} out", "default")
        if not call.billable:
            label.append("  not counted", "dim")
        elif node.priced is not None:
            label.append(
                f"  {estimated(show_money(node.priced.list_cost_usd), node.priced.partial, node.unsplit)}", "bold"
            )
    elif node.children and (cost := node.cost_usd()) is not None:
        label.append(f"  {estimated(show_money(cost), node.left_out, node.unsplit)}", "default")
    label.append(f"  {show_duration(node.duration_ns)}", "dim")
    if span.status is Status.ERROR or (node.tool_call is not None and node.tool_call.error):
        label.append("  failed ", "red").append_text(plain(span.error_type or "", 40))
    return label


def _why(node: Node) -> Iterable[str]:
    if node.inference is not None:
        call, priced = node.inference.inference, node.priced
        yield from (str(plain(reason, 160)) for reason in call.reasons)
        yield f"usage: {call.usage_source.value}, written {call.usage_semantics.value} of cached tokens"
        if call.merged_into is not None:
            yield f"merged into span {call.merged_into.hex()}"
        if node.possible_double is not None:
            double = node.possible_double
            yield f"possible double of span {double.inference.span_id.hex()} in run {double.placement.run_id}: "
            yield "  other trace and instrumentation, same service, time, model and tokens; both count"
        if priced is not None and priced.reason:
            yield f"unpriced: {priced.reason}"
        elif priced is not None and priced.card is not None:
            card = priced.card
            day = card.as_of.isoformat() if card.as_of else "day unknown"
            yield f"price: {card.list_name} {card.list_version}, {card.provider}/{card.model}, {card.tier}, {day}"
            yield from (
                f"  {meter} {show_count(getattr(call.meters, meter, None))} tokens {show_money(cost)}"
                for meter, cost in priced.cost_by_meter_usd.items()
            )
            yield from priced.notes
        if call.recorded_cost_usd is not None:
            yield f"recorded cost: {show_money(call.recorded_cost_usd)}"
    if node.tool_call is not None:
        yield from (str(plain(reason, 160)) for reason in node.tool_call.reasons)


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(plain(line, 400), style="dim", highlight=False)
