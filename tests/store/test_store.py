from __future__ import annotations

import sqlite3
import stat
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.records import (
    CALL,
    ROOT,
    TOOL,
    TRACE,
    full_batch,
    full_decisions,
    full_inference,
    full_span,
    full_tool_call,
)

from inferometer.ingest.commit import commit
from inferometer.schema.errors import StoreError, UnknownNameError, UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Decisions,
    Inference,
    InferenceDecision,
    Operation,
    RecordBatch,
    Run,
    ServingSample,
    Span,
    SpanKind,
    Status,
    UsageSource,
)
from inferometer.schema.selection import Selection
from inferometer.store import Store, WriteCounts, open_store
from inferometer.store.tables import METADATA


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path):
    """An empty store on each database that is supported."""
    on_server = request.param == "postgres"
    with open_store(request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "store.sqlite")) as opened:
        yield opened


def written(store: Store, batch: RecordBatch) -> WriteCounts:
    with store.transaction() as tx:
        return tx.write(batch)


def dump(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.reading() as connection:
        return {
            name: sorted((tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")), key=repr)
            for name in METADATA.tables
        }


def test_every_field_of_every_record_comes_back(store: Store) -> None:
    batch = full_batch()
    written(store, batch)
    with store.transaction() as tx:
        loaded = tx.load_traces([TRACE])
    assert loaded.spans == batch.spans
    assert loaded.inferences == [replace(batch.inferences[0], prefix=None)]
    assert loaded.tool_calls == batch.tool_calls
    assert loaded.charges == batch.charges
    assert sorted(loaded.outcomes, key=lambda outcome: outcome.name) == batch.outcomes
    assert store.serving_samples() == batch.serving_samples
    [row] = store.inferences(billable_only=False, with_prefix=True)
    assert row.inference == full_inference()


def test_decisions_are_shown_to_readers_and_hidden_from_the_next_decision(store: Store) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.apply(full_decisions())
    [row] = store.inferences()
    assert (row.inference.billable, row.inference.merged_into) == (True, None)
    assert row.inference.reasons == ["leaf of its tree"]
    assert row.placement.agent_name == "inner-agent"
    assert row.placement.run_id == "0123456789abcdef"
    [tool] = store.tool_calls()
    assert (tool.tool_call.merged_into, tool.tool_call.reasons) == (None, ["only view"])
    assert tool.placement.agent_name == "inner-agent"
    with store.transaction() as tx:
        again = tx.load_traces([TRACE])
    assert again.spans == full_batch().spans
    assert again.inferences == [replace(full_inference(), prefix=None)]
    assert again.tool_calls == [full_tool_call()]
    assert store.runs() == full_decisions().runs


def test_runs_that_a_later_decision_does_not_have_are_removed(store: Store) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.apply(full_decisions())
        tx.apply(Decisions(runs=[Run("aaaa", TRACE, CALL, "other")], run_ids={(TRACE, CALL): "aaaa"}))
    assert [run.run_id for run in store.runs()] == ["aaaa"]


def test_records_written_with_their_decisions_are_as_if_decided_later(store: Store) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.apply(full_decisions())
    wanted = dump(store)
    with store.transaction() as tx:
        for table in METADATA.tables:
            tx.connection.exec_driver_sql(f"DELETE FROM {table}")
    with store.transaction() as tx:
        assert tx.write(full_batch(), full_decisions()).spans == len(full_batch().spans)
    assert dump(store) == wanted


def test_decisions_hold_also_for_records_that_were_there(store: Store) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.write(full_batch(), full_decisions())
    found = dump(store)
    with store.transaction() as tx:
        tx.apply(full_decisions())
    assert dump(store) == found
    assert store.runs() == full_decisions().runs


def test_a_decision_without_edges_shows_the_sources_again(store: Store) -> None:
    written(store, full_batch())
    edges = full_inference().depends_on
    with store.transaction() as tx:
        tx.apply(Decisions(inferences=[InferenceDecision(TRACE, CALL, True, None, [], None, edges[:1])]))
    [row] = store.inferences()
    assert row.inference.depends_on == edges[:1]
    with store.transaction() as tx:
        tx.apply(Decisions(inferences=[InferenceDecision(TRACE, CALL, True, None, [])]))
    [row] = store.inferences()
    assert row.inference.depends_on == edges


def test_writing_again_changes_nothing(store: Store) -> None:
    assert written(store, full_batch()) == WriteCounts(
        spans=3, inferences=1, tool_calls=1, charges=2, outcomes=2, serving_samples=1
    )
    before = dump(store)
    assert written(store, full_batch()) == WriteCounts(duplicates=3)
    assert dump(store) == before


def test_a_span_that_comes_again_with_more_is_enriched(store: Store) -> None:
    begun = Span(TRACE, CALL, "chat", SpanKind.OTHER, start_ns=5, attributes={"a": 1}, tags={"team": "x"})
    ended = Span(TRACE, CALL, "chat", SpanKind.INFERENCE, start_ns=5, end_ns=9, status=Status.OK, attributes={"b": 2})
    both = [[begun, ended], [ended, begun]]
    results = []
    for number, order in enumerate(both):
        trace = bytes([number]) * 16
        for span in order:
            written(store, RecordBatch(spans=[replace(span, trace_id=trace)]))
        with store.transaction() as tx:
            results.append(replace(tx.load_traces([trace]).spans[0], trace_id=TRACE))
    assert results[0] == results[1]
    merged = results[0]
    assert (merged.kind, merged.end_ns, merged.status) == (SpanKind.INFERENCE, 9, Status.OK)
    assert merged.attributes == {"a": 1, "b": 2}
    assert merged.tags == {"team": "x"}


def test_the_same_span_twice_in_one_batch_is_one(store: Store) -> None:
    span = full_span()
    counts = written(store, RecordBatch(spans=[replace(span, end_ns=None), span], inferences=[full_inference()] * 2))
    assert (counts.spans, counts.inferences, counts.duplicates) == (1, 1, 1)
    with store.transaction() as tx:
        assert tx.load_traces([TRACE]).spans == [span]


@pytest.mark.parametrize("reverse", [False, True])
def test_an_inference_that_comes_again_keeps_one_view_of_its_meters(store: Store, reverse: bool) -> None:
    estimated = replace(
        full_inference(), meters=Meters(input_fresh=900, output=900), usage_source=UsageSource.ESTIMATED, prefix=None
    )
    provider = replace(full_inference(), meters=Meters(cache_read=5, output=7), provider=None)
    for call in [provider, estimated] if reverse else [estimated, provider]:
        written(store, RecordBatch(spans=[full_span()], inferences=[call]))
    [row] = store.inferences(billable_only=False, with_prefix=True)
    assert row.inference.meters == Meters(cache_read=5, output=7)
    assert row.inference.provider == "openai"
    assert row.inference.prefix == full_inference().prefix


def test_a_prefix_chain_that_comes_later_is_kept(store: Store) -> None:
    call = full_inference()
    written(store, RecordBatch(spans=[full_span()], inferences=[replace(call, prefix=None)]))
    assert written(store, RecordBatch(spans=[full_span()], inferences=[call])).enriched == 1
    assert written(store, RecordBatch(spans=[full_span()], inferences=[replace(call, prefix=None)])).enriched == 0
    [row] = store.inferences(billable_only=False, with_prefix=True)
    assert row.inference == call


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.transaction() as tx:
            tx.write(full_batch())
            raise RuntimeError

    before = dump(store)
    with pytest.raises(RuntimeError):
        fail()
    assert dump(store) == before


def test_odd_text_and_numbers_are_stored_as_far_as_they_can_be(store: Store) -> None:
    span = replace(
        full_span(), name="lone \ud800 surrogate", start_ns=2**64, attributes={"big": 2**70, "odd": "\ud800"}
    )
    fine = Span(TRACE, ROOT, "fine", start_ns=3)
    assert written(store, RecordBatch(spans=[fine, span])).spans == 2
    with store.transaction() as tx:
        spans = {loaded.span_id: loaded for loaded in tx.load_traces([TRACE]).spans}
    assert spans[CALL].name == "lone \ufffd surrogate"
    assert spans[CALL].start_ns is None
    assert spans[CALL].attributes["big"] == 2**70
    assert spans[ROOT] == fine


def test_a_sample_that_reads_nan_is_no_reading(store: Store) -> None:
    assert written(store, RecordBatch(serving_samples=[ServingSample(1, "m", float("nan"))])).serving_samples == 0


def test_a_journal_entry_is_noted_once(store: Store) -> None:
    with store.transaction() as tx:
        assert tx.note_entries([b"entry", b"second"]) == {b"entry", b"second"}
    with store.transaction() as tx:
        assert tx.note_entries([b"entry", b"third"]) == {b"third"}


SELECTING = [
    ("model", "gpt-4o"),
    ("model", "gpt-4o-2024-08-06"),
    ("provider", "openai"),
    ("agent", "inner-agent"),
    ("run", "0123456789abcdef"),
    ("run", "0123"),
    ("session", "session-1"),
    ("user", "user-hash"),
    ("purpose", "serve"),
    ("service", "shop"),
    ("dialect", "gen_ai"),
    ("source", "file.json"),
    ("tag.team", "shop"),
    ("tag.quote", 'a"b'),
]


@pytest.mark.parametrize(("key", "value"), SELECTING)
def test_where_selects_calls(store: Store, key: str, value: str) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.apply(full_decisions())
    assert len(list(store.inferences(Selection(where=((key, value),))))) == 1
    assert list(store.inferences(Selection(where=((key, value + "x"),)))) == []


@pytest.mark.parametrize(("key", "value"), SELECTING)
def test_where_selects_charges_and_outcomes_of_selected_calls(store: Store, key: str, value: str) -> None:
    batch = full_batch()
    batch.charges[0].span_id = CALL
    written(store, batch)
    with store.transaction() as tx:
        tx.apply(full_decisions())
    selection = Selection(where=((key, value),))
    assert batch.charges[0] in store.charges(selection)
    assert batch.charges[0] in [charge for charge, _ in store.placed_charges(selection)]
    other = Selection(where=((key, value + "x"),))
    assert [store.charges(other), list(store.placed_charges(other)), store.outcomes(other)] == [[], [], []]


@pytest.mark.parametrize(("key", "value"), [pair for pair in SELECTING if pair[0] != "tag.quote"])
def test_where_selects_runs(store: Store, key: str, value: str) -> None:
    written(store, full_batch())
    with store.transaction() as tx:
        tx.apply(full_decisions())
    assert len(store.runs(Selection(where=((key, value),)))) == 1
    assert store.runs(Selection(where=((key, value + "x"),))) == []


def test_the_window_holds_what_began_in_it(store: Store) -> None:
    written(store, full_batch())
    begin = full_span().start_ns
    assert begin is not None
    found = [
        len(list(store.inferences(Selection(since_ns=since, until_ns=until), billable_only=False)))
        for since, until in [(begin, None), (begin + 1, None), (None, begin), (None, begin + 1)]
    ]
    assert found == [1, 0, 0, 1]


def test_an_unknown_where_key_names_the_nearest(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="model"):
        list(store.inferences(Selection(where=(("modell", "x"),))))


def test_find_run_takes_a_prefix_and_says_where_it_is_not_one(store: Store) -> None:
    with store.transaction() as tx:
        tx.apply(Decisions(runs=[Run("ab01", TRACE, ROOT, "one"), Run("ab02", TRACE, TOOL, "two")]))
    assert store.find_run("ab01").name == "one"
    assert store.find_run("AB02").name == "two"
    with pytest.raises(UserError, match="ab01, ab02"):
        store.find_run("ab")
    with pytest.raises(UnknownNameError):
        store.find_run("%")


def test_attribute_values_are_the_spans_its_resources_or_its_runs(store: Store) -> None:
    batch = full_batch()
    batch.spans[0].attributes = {"tenant": "root", "plan": 3}
    batch.spans[1].attributes["tenant"] = "own"
    written(store, batch)
    with store.transaction() as tx:
        tx.apply(full_decisions())
    assert store.attribute_values(None, "tenant")[TRACE, CALL] == "own"
    assert store.attribute_values(None, "plan")[TRACE, TOOL] == "3"
    assert store.attribute_values(None, "k8s.pod.name") == {(TRACE, CALL): "shop-1"}


def test_a_new_store_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        written(store, full_batch())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes) >= {"store.sqlite", "store.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_connections_have_the_pragmas_that_durability_needs(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as store, store.reading() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert values == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_the_default_store_lies_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with open_store() as store:
        assert store.name == str(tmp_path / "data" / "inferometer" / "store.sqlite")
    assert stat.S_IMODE((tmp_path / "data" / "inferometer").stat().st_mode) == 0o700


def test_writers_at_once_lose_nothing_and_decide_about_whole_traces(store: Store) -> None:
    writers, traces = 3, 15
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for trace in range(traces):
                trace_id = trace.to_bytes(16, "big")
                root = Span(trace_id, ROOT, "agent", SpanKind.AGENT, start_ns=1, end_ns=100)
                child = Span(trace_id, bytes([number]) * 8, "chat", SpanKind.INFERENCE, ROOT, start_ns=2, end_ns=3)
                call = Inference(trace_id, child.span_id, "openai", "gpt-4o", meters=Meters(input_fresh=number))
                with store.transaction() as tx:
                    commit(tx, RecordBatch(spans=[root, child] if number else [child], inferences=[call]))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with store.transaction() as tx:
        loaded = tx.load_traces([trace.to_bytes(16, "big") for trace in range(traces)])
    assert len(loaded.spans) == traces * (writers + 1)
    assert len(store.runs()) == traces
    assert all(len(store.spans_of_run(run.run_id)) == writers + 1 for run in store.runs())


def bad_urls(tmp_path: Path) -> dict[str, str]:
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    text = tmp_path / "text.sqlite"
    text.write_text("this is no database, it only looks as long as one would be" * 50)
    return {
        "missing folder": str(tmp_path / "none" / "store.sqlite"),
        "a folder": str(tmp_path),
        "text": str(text),
        "another database": str(other),
        "unknown database": "oracle://user:secret@host/db",
        "no url": "://",
        "memory": "sqlite://",
        "memory by name": ":memory:",
        "no server": "postgresql://nobody:secret@127.0.0.1:1/none",
    }


@pytest.mark.parametrize(
    "what",
    [
        *("missing folder", "a folder", "text", "another database", "unknown database", "no url"),
        *("memory", "memory by name", "no server"),
    ],
)
def test_a_store_that_does_not_open_says_so_and_writes_nothing(tmp_path: Path, what: str) -> None:
    url = bad_urls(tmp_path)[what]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", ":memory:"])
def test_a_store_in_memory_is_refused_by_the_name_it_was_given(url: str) -> None:
    with pytest.raises(StoreError, match=f"^store {url}: names no file"):
        open_store(url)


def test_a_store_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with open_store(str(path)) as store:
        written(store, full_batch())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE inferometer_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer"):
        open_store(str(path))
    assert path.read_bytes() == before


def test_zero_and_unknown_are_told_apart(store: Store) -> None:
    call = Inference(
        TRACE, CALL, operation=Operation.EMBEDDING, meters=Meters(input_fresh=0), recorded_cost_usd=Decimal(0)
    )
    written(store, RecordBatch(spans=[full_span()], inferences=[call]))
    [row] = store.inferences()
    assert row.inference == call
    assert row.inference.meters.output is None
