"""A sample stands for all traces it was drawn from: from spans as they are sent to the totals that are shown."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from inferometer.analyzer.accounting import Accounting, account
from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.profiles.prices import load_prices
from inferometer.schema.records import Resource
from inferometer.store import open_store
from inferometer.testing.raw_spans import SECOND, START, agent, chat

NOW = START + 10**6 * SECOND
SERVICES, TRACES = 24, 160
THRESHOLD = round(0.9 * 2**56)
"""A trace is kept where the last 56 bits of its id are no lower: one in ten."""


def all_traces(seed: int) -> list[RawSpan]:
    """Traces of many services, of one to four calls of quite different sizes."""
    chance = random.Random(seed)
    spans = []
    for service in range(SERVICES):
        resource = Resource((("service.name", f"service-{service}"),))
        for _ in range(TRACES):
            trace = chance.randbytes(16)
            found = [agent(1, trace=trace, end=100.0)]
            for number in range(chance.randint(1, 4)):
                given, out = round(chance.lognormvariate(7, 0.8)), round(chance.lognormvariate(5, 0.8))
                at = 1.0 + 20 * number
                named = {"gen_ai__provider__name": "openai"}
                found.append(chat(2 + number, 1, trace=trace, given=given, out=out, start=at, end=at + 5, **named))
            spans += [replace(span, resource=resource) for span in found]
    return spans


def sampled(spans: list[RawSpan]) -> list[RawSpan]:
    """What a consistent probability sampler keeps, with the threshold that it notes."""
    state = f"ot=th:{THRESHOLD:014x}"
    kept = [span for span in spans if int.from_bytes(span.trace_id[-7:]) >= THRESHOLD]
    return [replace(span, trace_state=state) for span in kept]


def accounted(path: Path, spans: list[RawSpan]) -> Accounting:
    with open_store(str(path)) as store:
        with store.transaction() as transaction:
            commit(transaction, normalise(spans), NOW)
        return account(store, by="service", prices=load_prices())


def test_a_tenth_of_the_traces_gives_the_totals_of_all_within_the_interval(tmp_path: Path) -> None:
    spans = all_traces(20)
    part = sampled(spans)
    truth, estimate = accounted(tmp_path / "all.db", spans), accounted(tmp_path / "part.db", part)
    true = {group.key: group for group in truth.groups}
    assert truth.total.interval is None
    assert len(true) == len(estimate.groups) == SERVICES
    hits = dict.fromkeys(("inferences", "cost_usd"), 0)
    for group in (*estimate.groups, estimate.total):
        wanted = truth.total if group is estimate.total else true[group.key]
        assert group.interval is not None
        for name, interval in group.interval.items():
            value = float(getattr(wanted, name))
            holds = interval.low <= value <= interval.high
            hits[name] += holds
            assert holds or group is not estimate.total
            assert interval.high - interval.low < 2 * value  # wide enough for anything would prove nothing
    # an interval of 95 % misses one in twenty; 25 are looked at
    assert min(hits.values()) >= 21
    for name, tokens in truth.total.meters.items():
        found = estimate.total.meters[name]
        assert (found is None) == (tokens is None)
        if tokens is not None and found is not None:
            assert abs(found - tokens) <= 0.2 * tokens
    assert estimate.total.observed * 10 == estimate.total.inferences
