"""The live page: what is spent today and what comes in, from the store's records to finished contexts.

Templates see the dataclasses of this module and nothing else; every number in them is already worded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files

from inferometer.analyzer.day import DAY_NS, MINUTE_NS, DayBook, Sums
from inferometer.analyzer.runs import Node, RunSummary, RunTree
from inferometer.profiles.prices import PriceList
from inferometer.reports.environment import environment
from inferometer.reports.numbers import count, percent_width, seconds, tokens, usd
from inferometer.schema.records import Run, SpanKind, Status
from inferometer.schema.selection import Selection
from inferometer.store import Store

MINUTES = 60
SHOWN_RUNS = 50
SHOWN_GROUPS = 8
SHOWN_BARS = 500
_ZERO = Decimal(0)


@dataclass(slots=True)
class Figure:
    """One headline number."""

    title: str
    value: str
    note: str = ""


@dataclass(slots=True)
class MinuteBar:
    """One minute of the chart: where it stands and how high it is, in the chart's own units, and what it says."""

    x: str
    y: str
    height: str
    title: str


@dataclass(slots=True)
class MinuteChart:
    """Cost or tokens a minute over the last hour."""

    id: str
    title: str
    peak: str
    bars: list[MinuteBar]


@dataclass(slots=True)
class Share:
    """One row of a ranking."""

    name: str
    cost: str
    tokens: str
    calls: str
    width: str


@dataclass(slots=True)
class BudgetLine:
    """A daily budget and how much of it is spent; ``width`` is per cent, at most 100."""

    name: str
    spent: str
    limit: str
    share: str
    width: str
    is_over: bool


@dataclass(slots=True)
class RunLine:
    """One run of the list."""

    run_id: str
    name: str
    agent: str
    started: str
    duration: str
    calls: str
    tokens: str
    cost: str
    status: str


@dataclass(slots=True)
class LivePage:
    """The whole page but its frame."""

    updated: str
    day: str
    figures: list[Figure]
    charts: list[MinuteChart]
    agents: list[Share]
    models: list[Share]
    budgets: list[BudgetLine]
    runs: list[RunLine]
    runs_note: str
    search: str = ""


@dataclass(slots=True)
class WaterfallBar:
    """One span of a run: ``x`` and ``width`` are thousandths of the run's time."""

    name: str
    kind: str
    depth: str
    x: str
    width: str
    duration: str
    detail: str
    status: str


@dataclass(slots=True)
class RunPage:
    """One run as a waterfall."""

    run_id: str
    name: str
    subtitle: str
    figures: list[Figure]
    bars: list[WaterfallBar]
    left_out: str


@dataclass(slots=True)
class Today:
    """Today's figures, read once and shown to everyone who looks; ``runs`` are the latest of ``run_count``."""

    now_ns: int
    by_model: Sums
    by_agent: Sums
    cost_by_minute: dict[int, Decimal] = field(default_factory=dict)
    tokens_by_minute: dict[int, int] = field(default_factory=dict)
    runs: list[RunSummary] = field(default_factory=list)
    run_count: int = 0
    open_runs: int = 0


def day_start_ns(now_ns: int) -> int:
    """Return the first nanosecond of the day (UTC)."""
    return now_ns - now_ns % DAY_NS


def read_today(store: Store, prices: PriceList, book: DayBook, now_ns: int) -> Today:
    """Return today's figures.

    Args:
        store: where the runs are.
        prices: the price list.
        book: today's sums by model and agent, up to date.
        now_ns: nanoseconds since 1970.
    """
    last = now_ns // MINUTE_NS
    shown = {minute: sums for minute, sums in book.minutes.items() if last - MINUTES < minute <= last}
    selection = Selection(since_ns=day_start_ns(now_ns))
    run_count, open_runs = store.count_runs(selection)
    return Today(
        now_ns,
        book.sums("model"),
        book.sums("agent"),
        {minute: sums.cost_usd for minute, sums in shown.items()},
        {minute: sums.tokens for minute, sums in shown.items()},
        [_summary(store, prices, run) for run in store.latest_runs(selection, SHOWN_RUNS)],
        run_count,
        open_runs,
    )


def _summary(store: Store, prices: PriceList, run: Run) -> RunSummary:
    summary = RunSummary(run)
    for row in store.inferences(Selection(where=(("run", run.run_id),))):
        summary.add(row, prices.price(row))
    return summary


def build_live_page(
    today: Today,
    budgets: Sequence[tuple[str, Decimal, Decimal]] = (),
    search: str = "",
    found: Sequence[RunSummary] | None = None,
) -> LivePage:
    """Return the page's context.

    Args:
        today: what was read.
        budgets: name, spent and limit of each, in US dollars.
        search: as typed.
        found: the runs that the search found; today's where None.
    """
    total = today.by_model.total
    runs, run_count = (today.runs, today.run_count) if found is None else (found, len(found))
    now = datetime.fromtimestamp(today.now_ns // 1_000_000_000, UTC)
    return LivePage(
        updated=f"{now:%H:%M:%S} UTC",
        day=f"{now:%-d %B %Y}",
        figures=[
            Figure("Spent today", usd(total.cost_usd), _unpriced_note(total.unpriced)),
            Figure("Runs", count(today.run_count), f"{today.open_runs:,} open"),
            Figure("Model calls", count(total.inferences)),
            Figure("Tokens", tokens(sum(_input(total.meters)) + (total.meters["output"] or 0)), "in and out"),
        ],
        charts=_charts(today),
        agents=_shares(today.by_agent),
        models=_shares(today.by_model),
        budgets=[_budget_line(*budget) for budget in budgets],
        runs=[_run_line(summary) for summary in runs[:SHOWN_RUNS]],
        runs_note=_runs_note(run_count, search),
        search=search,
    )


def build_run_page(tree: RunTree) -> RunPage:
    """Return the context of one run's waterfall."""
    summary = tree.summary
    run = summary.run
    nodes = [(node, depth) for root in tree.roots for node, depth in _with_depth(root)]
    starts = [node.span.start_ns for node, _ in nodes if node.span.start_ns is not None]
    ends = [node.span.end_ns for node, _ in nodes if node.span.end_ns is not None]
    begin_ns = min(starts, default=0)
    length_ns = max(max(ends, default=begin_ns) - begin_ns, 1)
    left_out = len(nodes) - SHOWN_BARS
    return RunPage(
        run_id=run.run_id,
        name=run.name,
        subtitle=f"{run.agent_name or run.service or 'unknown agent'}, started {_time(run.start_ns)}, {_state(run)}",
        figures=[
            Figure("Cost", usd(summary.cost_usd), _unpriced_note(summary.unpriced)),
            Figure("Duration", _duration(summary.duration_ns)),
            Figure("Model calls", count(summary.inferences)),
            Figure("Tool calls", count(summary.tool_calls)),
            Figure("Tokens in", tokens(summary.input_tokens)),
            Figure("Tokens out", tokens(summary.output_tokens)),
        ],
        bars=[_waterfall_bar(node, depth, begin_ns, length_ns) for node, depth in nodes[:SHOWN_BARS]],
        left_out=f"{left_out:,} further spans are not shown" if left_out > 0 else "",
    )


def render_live_page(page: LivePage) -> str:
    """Return the page as HTML: a pure function of its context."""
    return environment().get_template("live.html.j2").render(page=page)


def render_live_body(page: LivePage) -> str:
    """Return the part of the page that changes."""
    return environment().get_template("live_body.html.j2").render(page=page)


def render_run_page(page: RunPage) -> str:
    """Return one run's page as HTML."""
    return environment().get_template("live_run.html.j2").render(page=page)


def render_login_page(*, has_failed: bool) -> str:
    """Return the page that asks for the token."""
    return environment().get_template("live_login.html.j2").render(has_failed=has_failed)


def render_message_page(title: str, message: str) -> str:
    """Return a page that says one thing, such as that a run is not known."""
    return environment().get_template("live_message.html.j2").render(title=title, message=message)


def live_asset(name: str) -> bytes:
    """Return ``live.css`` or ``live.js``."""
    return (files("inferometer.reports") / "templates" / name).read_bytes()


def _charts(today: Today) -> list[MinuteChart]:
    last = today.now_ns // MINUTE_NS
    minutes = range(last - MINUTES + 1, last + 1)
    costs = [float(today.cost_by_minute.get(minute, _ZERO)) for minute in minutes]
    counts = [float(today.tokens_by_minute.get(minute, 0)) for minute in minutes]
    return [
        MinuteChart("cost-chart", "Cost a minute", f"peak {usd(max(costs))}", _bars(minutes, costs, usd)),
        MinuteChart("token-chart", "Tokens a minute", f"peak {tokens(max(counts))}", _bars(minutes, counts, tokens)),
    ]


def _bars(minutes: range, values: list[float], word: object) -> list[MinuteBar]:
    assert callable(word)
    peak = max(values) or 1.0
    bars = []
    for place, (minute, value) in enumerate(zip(minutes, values, strict=True)):
        height = 60 * value / peak
        title = f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M} UTC: {word(value)}"
        bars.append(MinuteBar(str(place * 10), f"{60 - height:.1f}", f"{height:.1f}", title))
    return bars


def _shares(sums: Sums) -> list[Share]:
    groups = sums.groups[:SHOWN_GROUPS]
    peak = max((group.cost_usd or _ZERO for group in groups), default=_ZERO) or Decimal(1)
    return [
        Share(
            name=group.key or "unknown",
            cost=usd(group.cost_usd),
            tokens=tokens(sum(_input(group.meters)) + (group.meters["output"] or 0)),
            calls=count(group.inferences),
            width=percent_width(float((group.cost_usd or _ZERO) / peak)),
        )
        for group in groups
    ]


def _input(meters: dict[str, int | None]) -> list[int]:
    return [meters[name] or 0 for name in ("input_fresh", "cache_read", "cache_write_5m", "cache_write_1h")]


def _budget_line(name: str, spent_usd: Decimal, limit_usd: Decimal) -> BudgetLine:
    fraction = float(spent_usd / limit_usd) if limit_usd else 1.0
    return BudgetLine(
        name, usd(spent_usd), usd(limit_usd), f"{fraction:.0%}", percent_width(fraction), spent_usd > limit_usd
    )


def _run_line(summary: RunSummary) -> RunLine:
    run = summary.run
    return RunLine(
        run_id=run.run_id,
        name=run.name,
        agent=run.agent_name or "",
        started=_time(run.start_ns),
        duration=_duration(summary.duration_ns),
        calls=count(summary.inferences),
        tokens=tokens(summary.tokens),
        cost=usd(summary.cost_usd),
        status=_state(run),
    )


def _runs_note(number: int, search: str) -> str:
    what = f"found for “{search}”" if search else "today"
    runs = "1 run" if number == 1 else f"{number:,} runs"
    return f"{runs} {what}" + (f", the latest {SHOWN_RUNS} shown" if number > SHOWN_RUNS else "")


def _unpriced_note(unpriced: int) -> str:
    return f"{unpriced:,} calls without a price" if unpriced else ""


def _state(run: Run) -> str:
    if run.status is Status.ERROR:
        return "failed"
    return "open" if run.is_open else "done"


def _with_depth(root: Node) -> list[tuple[Node, int]]:
    found: list[tuple[Node, int]] = []
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        found.append((node, depth))
        stack.extend((child, depth + 1) for child in reversed(node.children))
    return found


def _waterfall_bar(node: Node, depth: int, begin_ns: int, length_ns: int) -> WaterfallBar:
    span = node.span
    start_ns = span.start_ns if span.start_ns is not None else begin_ns
    end_ns = span.end_ns if span.end_ns is not None else start_ns
    return WaterfallBar(
        name=span.name,
        kind=span.kind.value,
        depth=str(min(depth, 12)),
        x=f"{1000 * (start_ns - begin_ns) / length_ns:.2f}",
        width=f"{max(1000 * (end_ns - start_ns) / length_ns, 2):.2f}",
        duration=_duration(node.duration_ns),
        detail=_detail(node),
        status=span.status.value,
    )


def _detail(node: Node) -> str:
    if node.span.kind is SpanKind.INFERENCE and node.inference is not None:
        call = node.inference.inference
        cost = usd(node.priced.list_cost_usd) if node.priced and call.billable else "not billed here"
        return f"{call.model or 'unknown model'}, {tokens(call.meters.total)} tokens, {cost}"
    return node.span.error_type or ""


def _time(time_ns: int | None) -> str:
    if time_ns is None:
        return "unknown"
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def _duration(duration_ns: int | None) -> str:
    return seconds(None if duration_ns is None else duration_ns / 1e9)
