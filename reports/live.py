"""The live page: what is spent today and what comes in, from the store's records to finished contexts.

Templates see the dataclasses of this module and nothing else; every number in them is already worded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files

from inferometer.analyzer.accounting import Group
from inferometer.analyzer.day import DAY_NS, MINUTE_NS, DayBook, Sums
from inferometer.analyzer.runs import RunSummary, sum_runs
from inferometer.profiles.prices import PriceList
from inferometer.reports.environment import environment
from inferometer.reports.live_words import Figure, cost_note, duration, moment, run_state
from inferometer.reports.numbers import bound, bounded, count, percent_width, tokens, usd
from inferometer.schema.meters import DISJOINT_METERS
from inferometer.schema.selection import Selection
from inferometer.schema.wording import counted
from inferometer.store import Store

MINUTES = 60
SHOWN_RUNS = 50
SHOWN_GROUPS = 8
SUMMED_SPANS = 20_000
SEARCHED_SPANS = 4_000
"""Spans whose calls are read and priced for the sums of the shown runs, some 70 µs each."""
OPEN_TO_SEE = "open to see"
_ZERO = Decimal(0)


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


@dataclass(slots=True)
class SearchResult:
    """The latest runs that a text was found in, and how far was looked; see `inferometer.store.search.Found`."""

    text: str
    runs: list[RunSummary]
    is_cut: bool
    since_ns: int | None


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
        sum_runs(store, prices, store.latest_runs(selection, SHOWN_RUNS), max_spans=SUMMED_SPANS),
        run_count,
        open_runs,
    )


def search_runs(store: Store, prices: PriceList, text: str) -> SearchResult:
    """Return the latest runs that a text is found in, within the half second that a look may take."""
    found = store.search_runs(text, SHOWN_RUNS)
    runs = sum_runs(store, prices, found.runs, max_spans=SEARCHED_SPANS)
    return SearchResult(text, runs, found.is_cut, found.since_ns)


def build_live_page(
    today: Today,
    budgets: Sequence[tuple[str, Decimal, Decimal]] = (),
    found: SearchResult | None = None,
) -> LivePage:
    """Return the page's context.

    Args:
        today: what was read.
        budgets: name, spent and limit of each, in US dollars.
        found: what a search found, shown instead of today's runs; None where there was none.
    """
    total = today.by_model.total
    now = datetime.fromtimestamp(today.now_ns // 1_000_000_000, UTC)
    return LivePage(
        updated=f"{now:%H:%M:%S} UTC",
        day=f"{now:%-d %B %Y}",
        figures=[
            Figure("Spent today", _cost(total), cost_note(total.unpriced, total.unsplit)),
            Figure("Runs", count(today.run_count), f"{today.open_runs:,} open"),
            Figure("Model calls", count(total.inferences)),
            Figure("Tokens", _tokens(total), "in and out"),
        ],
        charts=_charts(today),
        agents=_shares(today.by_agent),
        models=_shares(today.by_model),
        budgets=[_budget_line(*budget) for budget in budgets],
        runs=[_run_line(summary) for summary in (today.runs if found is None else found.runs)],
        runs_note=_today_note(today.run_count) if found is None else _search_note(found),
        search=found.text if found else "",
    )


def render_live_page(page: LivePage) -> str:
    """Return the page as HTML: a pure function of its context."""
    return environment().get_template("live.html.j2").render(page=page)


def render_live_body(page: LivePage) -> str:
    """Return the part of the page that changes."""
    return environment().get_template("live_body.html.j2").render(page=page)


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
            cost=_cost(group),
            tokens=_tokens(group),
            calls=count(group.inferences),
            width=percent_width(float((group.cost_usd or _ZERO) / peak)),
        )
        for group in groups
    ]


def _cost(group: Group) -> str:
    return bounded(group.cost_usd, group.unpriced + group.partial, group.unsplit)


def _tokens(group: Group) -> str:
    known = [count for name in DISJOINT_METERS if (count := group.meters[name]) is not None]
    return bound(
        tokens(sum(known) if known else None), sum(group.meters_open[name] for name in ("input_fresh", "output"))
    )


def _budget_line(name: str, spent_usd: Decimal, limit_usd: Decimal) -> BudgetLine:
    fraction = float(spent_usd / limit_usd) if limit_usd else 1.0
    return BudgetLine(
        name, usd(spent_usd), usd(limit_usd), f"{fraction:.0%}", percent_width(fraction), spent_usd > limit_usd
    )


def _run_line(summary: RunSummary) -> RunLine:
    run, shown = summary.run, summary.is_summed
    return RunLine(
        run_id=run.run_id,
        name=run.name,
        agent=run.agent_name or "",
        started=moment(run.start_ns),
        duration=duration(summary.duration_ns),
        calls=count(summary.inferences) if shown else OPEN_TO_SEE,
        tokens=bound(tokens(summary.tokens), summary.usage_open) if shown else "",
        cost=bounded(summary.cost_usd, summary.unpriced + summary.partial, summary.unsplit) if shown else "",
        status=run_state(run),
    )


def _today_note(number: int) -> str:
    return f"{counted(number, 'run')} today" + (f", the latest {SHOWN_RUNS} shown" if number > SHOWN_RUNS else "")


def _search_note(found: SearchResult) -> str:
    number = f"the latest {SHOWN_RUNS} runs" if found.is_cut else counted(len(found.runs), "run")
    note = f"{number} found for “{found.text}”"
    if found.since_ns is None or found.is_cut:
        return note
    return f"{note} among those since {moment(found.since_ns)} UTC; inferometer runs --search looks through all"
