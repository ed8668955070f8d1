from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.documents import document, invoke

from inferometer.cli import run
from inferometer.cli.options import Moment
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Decisions,
    Inference,
    InferenceDecision,
    RecordBatch,
    Run,
    Span,
    SpanKind,
    Status,
    ToolCall,
    UsageSource,
)
from inferometer.store import open_store

START_NS = 1_763_600_000 * 1_000_000_000


@pytest.fixture
def store_path(tmp_path: Path) -> str:
    path = str(tmp_path / "store.sqlite")
    batch, decisions = RecordBatch(), Decisions()
    for number in range(3):
        trace, root = bytes([number]) * 16, b"rootspan"
        begin = START_NS + number * 10**9
        names = [(b"callspan", SpanKind.INFERENCE), (b"toolspan", SpanKind.TOOL), (b"roll-up.", SpanKind.INFERENCE)]
        batch.spans.append(
            Span(trace, root, f"agent [bold]{number}", SpanKind.AGENT, start_ns=begin, end_ns=begin + 10**9)
        )
        for span_id, kind in names:
            batch.spans.append(Span(trace, span_id, kind.value, kind, root, start_ns=begin, end_ns=begin + 5 * 10**8))
        for span_id in (b"callspan", b"roll-up."):
            meters = Meters(input_fresh=1000 * (number + 1), output=100)
            batch.inferences.append(
                Inference(trace, span_id, "openai", "gpt-4o", meters=meters, usage_source=UsageSource.PROVIDER)
            )
            kept = span_id == b"callspan"
            decisions.inferences.append(
                InferenceDecision(
                    trace, span_id, kept, None if kept else b"callspan", [] if kept else ["roll-up of its children"]
                )
            )
        batch.tool_calls.append(ToolCall(trace, b"toolspan", "read", error="KeyError" if number == 1 else None))
        status = Status.ERROR if number == 1 else Status.OK
        decisions.runs.append(
            Run(f"{number}" * 16, trace, root, f"agent {number}", start_ns=begin, end_ns=begin + 10**9, status=status)
        )
        decisions.run_ids |= {
            (trace, span_id): f"{number}" * 16 for span_id in (root, b"callspan", b"toolspan", b"roll-up.")
        }
    with open_store(path) as store, store.transaction() as tx:
        tx.write(batch)
        tx.apply(decisions)
    return path


def test_cost_prints_the_document(store_path: str) -> None:
    cost = document("cost", "--store", store_path)
    assert cost["currency"] == "USD"
    assert [group["key"] for group in cost["groups"]] == ["gpt-4o"]
    total = cost["total"]
    assert total["inferences"] == 3
    assert total["runs"] == 3
    assert total["meters"] == {
        "input_fresh": 6000,
        "cache_read": None,
        "cache_write_5m": None,
        "cache_write_1h": None,
        "output": 300,
        "reasoning": None,
    }
    # 6,000 tokens at 2.50 and 300 at 10 dollars a million
    assert Decimal(total["cost_usd"]) == Decimal("0.018")
    assert total["recorded_cost_usd"] is None
    assert (total["charges_usd"], total["unpriced"], total["estimated"]) == ("0", 0, 0)


def test_cost_looks_only_at_what_was_selected(store_path: str) -> None:
    since = "2025-11-20T00:53:21+00:00"
    assert document("cost", "--store", store_path, "--since", since)["total"]["inferences"] == 2
    assert document("cost", "--store", store_path, "--until", since)["total"]["inferences"] == 1
    assert document("cost", "--store", store_path, "--where", "run=000")["total"]["inferences"] == 1


def test_times_beyond_all_records_select_all_of_them(store_path: str) -> None:
    words = ("--since", "0001-01-01", "--until", "9999-12-31T23:59:59.999999+00:00")
    assert document("cost", "--store", store_path, *words)["total"]["inferences"] == 3


@pytest.mark.parametrize("text", ["2025-11-20T00:53:20.123456+00:00", "2025-11-20T01:53:20.123456+01:00"])
def test_a_time_is_read_to_the_microsecond(text: str) -> None:
    assert Moment().convert(text, None, None) == START_NS + 123_456_000


def test_cost_prints_a_table(store_path: str) -> None:
    output = invoke("cost", "--store", store_path).output
    assert "gpt-4o" in output
    assert "$0.018" in output
    assert "genai-prices" in output


def test_runs_are_sorted_and_searched(store_path: str) -> None:
    runs = document("runs", "--store", store_path)["runs"]
    assert [entry["name"] for entry in runs] == ["agent 2", "agent 1", "agent 0"]
    by_cost = document("runs", "--store", store_path, "--sort", "cost", "--limit", "1")
    assert [entry["name"] for entry in by_cost["runs"]] == ["agent 2"]
    assert by_cost["of"] == 3
    found = document("runs", "--store", store_path, "--search", "AGENT 1")["runs"]
    assert [(entry["run_id"], entry["errors"], entry["status"]) for entry in found] == [("1" * 16, 1, "error")]
    assert found[0]["inferences"] == 1
    assert found[0]["duration_s"] == 1.0
    assert Decimal(found[0]["cost_usd"]) == Decimal("0.006")


def test_runs_and_show_take_the_prices_that_cost_takes(store_path: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[models]]\nmodel = "gpt-4o"\ninput_usd_per_mtok = 100\noutput_usd_per_mtok = 0\n')
    words = ("--store", store_path, "--prices", str(file))
    runs = document("runs", *words)["runs"]
    assert [Decimal(entry["cost_usd"]) for entry in runs] == [Decimal("0.3"), Decimal("0.2"), Decimal("0.1")]
    assert Decimal(document("cost", *words)["total"]["cost_usd"]) == Decimal("0.6")
    assert Decimal(document("show", "1" * 16, *words)["run"]["cost_usd"]) == Decimal("0.2")


def test_runs_prints_a_table(store_path: str) -> None:
    output = invoke("runs", "--store", store_path).output
    assert "1" * 16 in output
    assert "failed" in output
    assert "3 runs" in output


def test_show_prints_the_tree_with_names_as_they_are(store_path: str) -> None:
    output = invoke("show", "000", "--store", store_path).output
    assert "agent [bold]0" in output
    assert "not counted" in output
    assert "roll-up of its children" not in output


def test_show_why_gives_reasons_and_prices(store_path: str) -> None:
    output = invoke("show", "000", "--why", "--store", store_path).output
    assert "roll-up of its children" in output
    assert "openai/gpt-4o, standard, 2025-11-20" in output


def test_show_prints_the_document(store_path: str) -> None:
    shown = document("show", "111", "--store", store_path)
    assert shown["run"]["run_id"] == "1" * 16
    assert shown["run"]["inferences"] == 1
    by_kind = [span["kind"] for span in shown["spans"]]
    assert by_kind[0] == "agent"
    assert sorted(by_kind) == ["agent", "inference", "inference", "tool"]
    [rolled] = [span for span in shown["spans"] if span.get("inference", {}).get("billable") is False]
    assert rolled["inference"]["merged_into"] == b"callspan".hex()
    assert rolled["inference"]["reasons"] == ["roll-up of its children"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "fff"], "unknown run 'fff'"),
        (["cost", "--by", "modle"], "nearest known: model"),
        (["runs", "--sort", "price"], "unknown order 'price'"),
        (["cost", "--where", "modle=x"], "nearest known: model"),
        (["cost", "--where", "model"], "is not KEY=VALUE"),
        (["cost", "--since", "yesterday"], "is neither a date"),
        (["cost", "--since", "99999999999999999999d"], "is neither a date"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    store_path: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run([*arguments, "--store", store_path]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


READING = [
    ["cost"],
    ["runs"],
    ["show", "x"],
    ["audit"],
    ["replay", "--hardware", "h100_sxm", "--model", "meta-llama/Llama-3.1-70B", "--tp", "4"],
    ["sweep", "--model", "meta-llama/Llama-3.1-70B"],
    ["export", "--to", "otlp"],
    ["store", "info"],
    ["store", "backup", "copy.sqlite"],
    ["store", "purge", "--user", "x"],
    ["store", "reprocess"],
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading_where_there_is_no_store_says_what_to_do_first_and_makes_none(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    unborn = tmp_path / "none" / "store.sqlite"
    for options in (["--store", str(unborn)], ["--store", "store.sqlite"], []):
        assert run([*words, *options]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert "there is none yet; `inferometer import PATH`" in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_yet_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "store.sqlite"
    path.touch()
    assert run(["cost", "--store", str(path)]) == 2
    assert "there is none yet" in capsys.readouterr().err
    assert path.stat().st_size == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cost"], "nothing here yet: `inferometer import PATH` reads traces"),
        (["runs"], "nothing here yet: `inferometer import PATH` reads traces"),
        (["audit", "--no-replay"], "There is nothing to audit yet. Import traces with inferometer import PATH"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_empty_store_says_what_to_do_first(words: list[str], said: str, tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    open_store(path).close()
    assert said in " ".join(invoke(*words, "--store", path).output.split())
    document(*words, "--store", path)


def test_a_search_that_finds_no_run_says_so(store_path: str) -> None:
    printed = " ".join(invoke("runs", "--store", store_path, "--search", "no such text").output.split())
    assert printed.endswith("0 runs no run's id, name, agent, session, user or model holds 'no such text'")


@pytest.mark.postgres
def test_a_database_that_is_no_store_yet_gets_no_tables(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cost", "--store", postgres_url]) == 2
    assert "there is none yet" in capsys.readouterr().err
    assert run(["store", "migrate", "--store", postgres_url]) == 0
    assert "new, now at revision" in capsys.readouterr().out


def test_a_cycle_of_parents_is_shown_once(tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    trace = bytes(16)
    ids = [b"cycle--a", b"cycle--b", b"itself--"]
    parents = [ids[1], ids[0], ids[2]]
    batch = RecordBatch(spans=[Span(trace, a, a.decode(), parent_id=b) for a, b in zip(ids, parents, strict=True)])
    with open_store(path) as store, store.transaction() as tx:
        tx.write(batch)
        tx.apply(Decisions([Run("ab", trace, ids[0], "x")], {(trace, span_id): "ab" for span_id in ids}))
    shown = document("show", "ab", "--store", path)
    assert sorted(span["name"] for span in shown["spans"]) == ["cycle--a", "cycle--b", "itself--"]
    invoke("show", "ab", "--store", path)


@pytest.mark.postgres
def test_a_session_imported_into_postgresql_costs_the_same(postgres_url: str, shared: Path) -> None:
    invoke("import", str(shared / "data" / "sessions" / "pi-mono"), "--store", postgres_url)
    total = document("cost", "--store", postgres_url)["total"]
    assert (total["inferences"], total["cost_usd"], total["recorded_cost_usd"]) == (453, "30.3301977", "30.3301977")
    [costliest] = document("runs", "--sort", "cost", "--limit", "1", "--store", postgres_url)["runs"]
    shown = document("show", costliest["run_id"], "--store", postgres_url)
    assert shown["run"]["cost_usd"] == costliest["cost_usd"]
    assert document("cost", "--by", "tool", "--store", postgres_url)["total"] == total
