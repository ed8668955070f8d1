from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.store.records import full_batch, full_decisions

from inferometer.ingest.commit import commit
from inferometer.schema.errors import StoreError, UserError
from inferometer.schema.records import (
    Charge,
    Inference,
    Outcome,
    PrefixChain,
    RecordBatch,
    Resource,
    ServingSample,
    Span,
    SpanKind,
    ToolCall,
)
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.store.upkeep import Erased, back_up, describe, purge

NOON_NS = 1_763_985_600 * 10**9
SHARED_BLOCKS = b"".join(b"common%02d" % number for number in range(4))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    on_server = request.param == "postgres"
    with open_store(request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "store.sqlite")) as opened:
        yield opened


def add_run(store: Store, name: str, start_ns: int = NOON_NS, own_blocks: int = 3) -> str:
    """Write a run of a user, with every kind of record, whose names and hashes hold the run's own name."""
    trace, root = name.encode().ljust(16, b"."), b"rootspan"
    own = b"".join(name.encode()[:6] + b"%02d" % number for number in range(own_blocks))
    spans = [
        Span(trace, root, f"agent-{name}", SpanKind.AGENT, start_ns=start_ns, user_id=f"user-{name}"),
        Span(trace, b"callspan", f"call-{name}", SpanKind.INFERENCE, root, start_ns=start_ns + 1),
        Span(trace, b"toolspan", f"tool-{name}", SpanKind.TOOL, root, start_ns=start_ns + 2),
    ]
    for span in spans:
        span.session_id = f"session-{name}"
        span.resource = Resource((("service.name", f"service-{name}"),))
    chain = PrefixChain(SHARED_BLOCKS + own, 64, "o200k_base", "key")
    batch = RecordBatch(
        spans=spans,
        inferences=[Inference(trace, b"callspan", "openai", f"model-{name}", response_id=f"resp-{name}", prefix=chain)],
        tool_calls=[ToolCall(trace, b"toolspan", f"toolname-{name}")],
        charges=[Charge(trace, b"toolspan", f"sku-{name}", 1, "call")],  # type: ignore[arg-type]
        outcomes=[Outcome(trace, root, f"outcome-{name}", 1.0)],
    )
    with store.transaction() as tx:
        commit(tx, batch)
    [run] = store.runs(Selection(where=(("session", f"session-{name}"),)))
    return run.run_id


def bytes_of(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in Path(store.name).parent.iterdir())


@pytest.mark.parametrize("by", ["user", "session", "run", "before"])
def test_purge_erases_whole_runs_and_leaves_the_others(store: Store, by: str) -> None:
    gone, kept = add_run(store, "secret-one"), add_run(store, "public-two", start_ns=NOON_NS + 5000)
    before = {row.inference.trace_id: row.inference for row in store.inferences(with_prefix=True)}
    erased = purge(
        store,
        users=["user-secret-one"] if by == "user" else (),
        sessions=["session-secret-one"] if by == "session" else (),
        runs=[gone] if by == "run" else (),
        before_ns=NOON_NS + 4000 if by == "before" else None,
    )
    assert (erased.runs, erased.spans, erased.inferences, erased.tool_calls) == (1, 3, 1, 1)
    assert (erased.charges, erased.outcomes) == (1, 1)
    assert [run.run_id for run in store.runs()] == [kept]
    [left] = store.inferences(with_prefix=True)
    assert left.inference == before[left.inference.trace_id]
    assert len(list(store.tool_calls())) == len(store.outcomes()) == len(store.charges()) == 1
    counts = describe(store).rows
    assert (counts["spans"], counts["resources"]) == (3, 1)


@pytest.mark.parametrize("first", ["secret", "public"])
def test_no_byte_of_what_was_erased_is_left_in_any_file(tmp_path: Path, first: str) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as store:
        for name in ("secret-one", "public-two") if first == "secret" else ("public-two", "secret-one"):
            add_run(store, name, own_blocks=400)
        assert b"secret" in bytes_of(store)
        purge(store, users=["user-secret-one"])
        assert b"secret" not in bytes_of(store)
        assert b"public" in bytes_of(store)
        [left] = store.inferences(with_prefix=True)
        assert left.inference.prefix is not None
        assert left.inference.prefix.hashes.startswith(SHARED_BLOCKS + b"public00")
        add_run(store, "secret-one", own_blocks=2)
        [_, back] = sorted(store.inferences(with_prefix=True), key=lambda row: row.inference.trace_id)
        assert back.inference.prefix is not None
        assert back.inference.prefix.hashes == SHARED_BLOCKS + b"secret00secret01"
    assert b"user-secret" in (tmp_path / "store.sqlite").read_bytes()


def test_purge_before_takes_old_samples_and_spans_of_no_run(store: Store) -> None:
    with store.transaction() as tx:
        tx.write(
            RecordBatch(
                spans=[
                    Span(bytes(16), b"old-span", "x", start_ns=NOON_NS),
                    Span(bytes(16), b"new-span", "x", start_ns=NOON_NS + 50),
                ],
                serving_samples=[ServingSample(NOON_NS, "m", 1.0), ServingSample(NOON_NS + 50, "m", 2.0)],
            )
        )
    erased = purge(store, before_ns=NOON_NS + 10)
    assert (erased.spans, erased.serving_samples) == (1, 1)
    assert [sample.time_ns for sample in store.serving_samples()] == [NOON_NS + 50]


def test_what_has_no_date_is_before_no_time(store: Store) -> None:
    add_run(store, "no-clock", start_ns=1000)
    with store.transaction() as tx:
        tx.write(RecordBatch(spans=[Span(bytes(16), b"of-norun", "x", start_ns=5)]))
    assert purge(store, before_ns=NOON_NS) == Erased()
    assert purge(store, sessions=["session-no-clock"]).runs == 1


def test_purge_of_nothing_named_is_refused(store: Store) -> None:
    add_run(store, "secret-one")
    with pytest.raises(UserError, match="--before"):
        purge(store)
    assert len(store.runs()) == 1


def test_purging_in_any_order_ends_in_an_empty_store(store: Store) -> None:
    names = ["aaaaaa", "bbbbbb", "cccccc"]
    for name in names:
        add_run(store, name)
    for name in ("bbbbbb", "cccccc", "aaaaaa"):
        purge(store, sessions=[f"session-{name}"])
    counts = describe(store).rows
    assert not any(counts.values()), counts


def test_info_counts_what_is_there(store: Store) -> None:
    with store.transaction() as tx:
        tx.write(full_batch())
        tx.apply(full_decisions())
    info = describe(store)
    assert info.rows == {
        "spans": 3,
        "inferences": 1,
        "tool_calls": 1,
        "runs": 1,
        "charges": 2,
        "outcomes": 2,
        "serving_samples": 1,
        "resources": 1,
        "prefix_segments": 1,
    }
    assert (info.open_runs, info.sampled_spans, info.revision) == (1, 1, info.newest_revision)
    assert (info.first_ns, info.last_ns) == (1_763_681_581_000_000_000, 1_763_681_583_000_000_000)
    assert info.dialects == {"gen_ai": 1, "unknown": 2}
    assert info.bytes


def test_a_backup_is_whole_and_its_owners_alone(tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    with open_store(str(tmp_path / "store.sqlite")) as store:
        add_run(store, "aaaaaa")
        assert back_up(store, str(target)) == target.stat().st_size
        with pytest.raises(StoreError, match="overwrites nothing"):
            back_up(store, str(target))
        with pytest.raises(StoreError, match="cannot be written"):
            back_up(store, str(tmp_path / "none" / "copy.sqlite"))
        wanted = describe(store)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with open_store(str(target)) as copy:
        assert replace(describe(copy), store="", bytes=None) == replace(wanted, store="", bytes=None)


@pytest.mark.postgres
def test_a_server_is_backed_up_by_its_own_tool(postgres_url: str, tmp_path: Path) -> None:
    with open_store(postgres_url) as store, pytest.raises(UserError, match="pg_dump"):
        back_up(store, str(tmp_path / "copy"))
