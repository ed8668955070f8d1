"""Every command that prints a JSON document keeps to its published schema, and says nothing that is not in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import jsonschema
import pytest
from tests.cli.documents import keep_to_schema

from inferometer.analyzer import calibrate
from inferometer.analyzer.calibrate import Gemm, Measurements
from inferometer.cli import main, run
from inferometer.ingest.commit import commit
from inferometer.ingest.importing import import_paths
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, UsageSource
from inferometer.store import open_store
from inferometer.testing.sample_sessions import write_sample_sessions

ON_H100 = ("--model", "meta-llama/Llama-3.1-70B", "--precision", "fp8", "--tp", "4")
POINTS = (
    "hardware,engine,model,precision,mode,tp,isl,osl,concurrency\nh100_sxm,vllm,llama-3.1-70b,fp8,agg,4,1000,100,8\n"
)
BILL = '{"data":[{"object":"bucket","start_time":1762000000,"results":[{"input_tokens":5,"model":"gpt-4o"}]}]}'
WORDS = {
    # command: its words, with places of the folder in braces
    "demo": "--out {folder}/audit.html --store {folder}/demo.sqlite",
    "import": "{folder}/samples --store {folder}/fresh.sqlite",
    "runs": "--store {store}",
    "show": "{run} --store {store}",
    "cost": "--by agent --store {store}",
    "replay": "--hardware h100_sxm --slo ttft_p95=20s --sensitivity --store {store} " + " ".join(ON_H100),
    "predict": "--points {folder}/points.csv",
    "sweep": "--hardware h100_sxm --jobs 1 --store {store} " + " ".join(ON_H100),
    "audit": "--no-replay --store {store}",
    "reconcile": "--bill {folder}/bill.json --store {store}",
    "check": "--budget {folder}/budget.toml --store {store}",
    "diff": "{folder}/audit.json {folder}/audit.json",
    "export": "--to mooncake --out {folder}/calls.jsonl --store {store}",
    "store info": "--store {store}",
    "store migrate": "--store {store}",
    "store backup": "{folder}/copy.sqlite --store {store}",
    "store purge": "--user nobody --store {store}",
    "store reprocess": "--store {store}",
    "tokens count": "{folder}/points.csv",
    "tokens bench": "{folder}/points.csv",
    "profiles list": "",
    "profiles show": "h100_sxm",
    "profiles validate": "",
    "calibrate": "--from-traces --hardware h100_sxm --out {folder}/own.toml --store {folder}/served.sqlite "
    + " ".join(ON_H100),
}
MEASURED = Measurements("H100", "gpu", "torch 2.13", 8e10, 2.7e12, (Gemm("bf16", 4096, 7e14),), 2e12, 5e14, None, None)


def commands_with_json(command: click.Command, context: click.Context, name: str = "") -> Iterator[str]:
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            assert inner is not None
            yield from commands_with_json(inner, context, f"{name} {verb}".strip())
    elif any("--json" in parameter.opts for parameter in command.params):
        yield name


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with what the commands read: sample sessions imported, an audit, and a server's spans."""
    folder = tmp_path_factory.mktemp("documents")
    store = str(folder / "store.sqlite")
    write_sample_sessions(folder / "samples")
    with open_store(store) as opened:
        import_paths(opened, [folder / "samples"])
        shown = opened.runs()[0].run_id
    (folder / "points.csv").write_text(POINTS)
    (folder / "bill.json").write_text(BILL)
    (folder / "budget.toml").write_text("[limits]\ncost_usd_max = 1000\n")
    assert run(["audit", "--no-replay", "--store", store, "--json", str(folder / "audit.json")]) == 0
    write_served_calls(str(folder / "served.sqlite"))
    return {"folder": str(folder), "store": store, "run": shown}


def write_served_calls(path: str) -> None:
    batch = RecordBatch()
    for number in range(1, 31):
        trace, begin = number.to_bytes(16, "big"), number * 100 * 10**9
        batch.spans.append(
            Span(trace, b"callspan", "chat", SpanKind.INFERENCE, start_ns=begin, end_ns=begin + 3 * 10**9)
        )
        batch.inferences.append(
            Inference(
                trace,
                b"callspan",
                "vllm",
                "meta-llama/Llama-3.1-70B",
                meters=Meters(input_fresh=400 + number, output=50 + number),
                usage_source=UsageSource.PROVIDER,
                queue_ns=1,
                prefill_ns=50_000_000,
                decode_ns=2 * 10**9,
                ttft_ns=60_000_000,
            )
        )
    with open_store(path) as store, store.transaction() as tx:
        commit(tx, batch)


def test_every_command_that_prints_json_is_tried_here() -> None:
    assert set(WORDS) == set(commands_with_json(main, click.Context(main)))


@pytest.mark.parametrize("name", WORDS)
def test_a_document_keeps_to_its_schema_and_has_no_key_beside_it(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run([*name.split(), *WORDS[name].format(**places).split(), "--json"]) == 0, capsys.readouterr().err
    keep_to_schema(name, json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("words", ["cost", "runs", "audit --no-replay"])
def test_what_has_no_price_keeps_to_the_schema_too(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, store = tmp_path / "samples", str(tmp_path / "store.sqlite")
    write_sample_sessions(samples)
    for path in filter(Path.is_file, samples.rglob("*")):
        path.write_text(re.sub(r"(claude|gpt|gemini)-[a-z0-9.-]+", "mystery-1", path.read_text()))
    with open_store(store) as opened:
        import_paths(opened, [samples])
    assert run([*words.split(), "--store", store, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    keep_to_schema(words.split()[0], document)
    assert run([*words.split(), "--store", store]) == 0


def test_measured_kernels_keep_to_the_schema_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "measure", lambda device: MEASURED)
    assert run(["calibrate", "--out", str(tmp_path / "own.toml"), "--json"]) == 0
    keep_to_schema("calibrate", json.loads(capsys.readouterr().out))


def test_a_key_that_no_schema_names_is_found() -> None:
    document = {"schema_version": 1, "valid": {"hardware": 1}}
    keep_to_schema("profiles validate", document)
    for broken in ({**document, "more": 1}, {**document, "valid": {"hardwares": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            keep_to_schema("profiles validate", broken)
