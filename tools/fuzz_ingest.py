"""Fuzz everything that a file's bytes pass through on their way to decisions, with coverage as the guide.

    pip install atheris && python tools/fuzz_ingest.py [seconds] [folder of real files]

A file may be refused with one of our errors; anything else that is raised is a fault, and so are a value that costs a
file of a known format its other records, a meter below zero, a billed call that was merged away, and decisions that
differ when the spans come in another order. What is JSON is mutated as JSON half of the time, so that importers are
met behind their signatures.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["inferometer"]):
    from inferometer.ingest.importers import importer_of
    from inferometer.ingest.importers.importer import Options
    from inferometer.ingest.importers.opening import open_source
    from inferometer.ingest.importing import import_paths
    from inferometer.ingest.logs import decode_logs
    from inferometer.ingest.metrics import decode_metrics
    from inferometer.ingest.normalise import normalise
    from inferometer.ingest.otlp import decode_traces
    from inferometer.ingest.resolve import resolve
    from inferometer.schema.errors import InferometerError

from inferometer.schema.records import Decisions, RecordBatch
from inferometer.store import open_store
from inferometer.testing.otlp_requests import build_request

NOW_NS = 2_000_000_000 * 1_000_000_000
MOST_SECONDS = 600
LARGEST_SEED_BYTES = 12_000
ODD = (None, True, -1, 2**70, 1e300, "", "x", "\0", "\ud800", "2026-01-01T00:00:00Z", [], {}, [[]], {"a": {}}, ["a"])


def run_spans(body: bytes, encoding: str) -> None:
    """Decode spans, make records of them, decide about them in two orders."""
    try:
        raws = decode_traces(body, encoding, Counter())  # type: ignore[arg-type]
    except InferometerError:
        return
    batch = normalise(raws)
    decisions = decide(batch)
    keys = {(span.trace_id, span.span_id) for span in batch.spans}
    if len(keys) == len(raws):  # of spans that come twice, the store makes one before it decides
        again = resolve(normalise(raws[::-1]), NOW_NS)
        assert again.run_ids == decisions.run_ids, "runs depend on the order"
        assert _billed(again) == _billed(decisions), "what is billed depends on the order"


def decide(batch: RecordBatch) -> Decisions:
    """Decide about records, and look at both."""
    for call in batch.inferences:
        assert all(value >= 0 for value in call.meters.as_dict().values()), "a meter below zero"
    decisions = resolve(batch, NOW_NS)
    assert not any(call.billable and call.merged_into for call in decisions.inferences), "merged away and billed"
    return decisions


def run_file(file: Path) -> None:
    """Read a file by the importer that knows it, which may raise nothing but our errors."""
    try:
        with open_source(file, Options()) as source:
            importer = importer_of(source)
            if source.is_large and importer.cuts is None:
                source.load()
            for batch in importer.read(source):
                decide(batch)
    except InferometerError:
        return


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Put something odd in the place of one value of a JSON document or line, or leave the bytes to libFuzzer."""
    chance = random.Random(seed)
    lines = data[1:].split(b"\n")
    place = chance.randrange(len(lines))
    try:
        holder = [json.loads(lines[place])]
    except (ValueError, RecursionError):
        return atheris.Mutate(data, max_size)
    if chance.random() < 0.5:
        return atheris.Mutate(data, max_size)
    spots: list[tuple[Any, Any]] = [(holder, 0)]
    for value, key in spots:
        inner = value[key]
        if isinstance(inner, (dict, list)):
            spots.extend((inner, name) for name in (inner if isinstance(inner, dict) else range(len(inner))))
    value, key = chance.choice(spots)
    other, name = chance.choice(spots)
    value[key] = chance.choice([*ODD, json.loads(json.dumps(other[name]))])
    lines[place] = json.dumps(holder[0]).encode()
    return (data[:1] + b"\n".join(lines))[:max_size]


def _billed(decisions: object) -> set[tuple[bytes, bytes]]:
    return {(call.trace_id, call.span_id) for call in decisions.inferences if call.billable}  # type: ignore[attr-defined]


class Fuzzer:
    """Takes inputs one by one; a file's bytes go into a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "file.json"
        self.store = open_store(str(folder / "store.db"))

    def __call__(self, data: bytes) -> None:
        """Take one input through what its first byte chooses."""
        if not data:
            return
        choice, body = data[0] % 8, data[1:]
        if choice < 2:
            run_spans(body, ("protobuf", "json")[choice])
        elif choice < 6:
            decode = (decode_logs, decode_metrics)[choice % 2]
            try:
                decode(body, ("protobuf", "json")[choice // 4], Counter())  # type: ignore[arg-type]
            except InferometerError:
                return
        elif choice == 6:
            self.file.write_bytes(body)
            run_file(self.file)
        else:
            self.file.write_bytes(body)
            report = import_paths(self.store, [self.file], now_ns=NOW_NS)
            assert report.files + len(report.failed) == 1


def seeds(folder: Path | None) -> list[bytes]:
    """Return sound files of several kinds to begin with, and the small ones of a folder."""
    real = [] if folder is None else [path for path in sorted(folder.rglob("*")) if path.is_file()]
    bodies = [path.read_bytes() for path in real if path.stat().st_size < LARGEST_SEED_BYTES]
    body = build_request(2, content="words").SerializeToString()
    pairs = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": "12",
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"x"}]}]',
    }
    ids = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in pairs.items()]
    link = {**ids, "spanId": "aaa19b7ec3c1b174"}
    span = {**ids, "name": "chat", "kind": 3, "startTimeUnixNano": "5", "attributes": attributes, "links": [link]}
    spans = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 1}
    line = {
        **{"type": "assistant", "sessionId": "s", "uuid": "u", "timestamp": "2026-01-01T00:00:00Z"},
        "message": {"role": "assistant", "id": "m", "model": "claude-sonnet-4-5", "usage": usage, "content": []},
    }
    turn = {"role": "assistant", "content": "x", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    answer = {"id": "r", "object": "chat.completion", "model": "gpt-4o", "usage": {"prompt_tokens": 3}, "choices": []}
    files = [spans, *(json.dumps(each).encode() for each in (line, {"messages": [turn]}, {"traj": [turn]}, answer))]
    return [
        b"\0" + body,
        b"\1" + spans,
        *(b"\6" + file for file in [*files, *bodies]),
        *(b"\7" + file for file in files),
    ]


def main() -> None:
    """Fuzz for so many seconds, at most ten minutes; ends with 77 and the input where a fault is found."""
    import tempfile

    seconds = min(MOST_SECONDS, int(sys.argv[1]) if len(sys.argv) > 1 else MOST_SECONDS)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(Path(sys.argv[2]) if len(sys.argv) > 2 else None)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST_SEED_BYTES}", "-rss_limit_mb=1024"]
        atheris.Setup([sys.argv[0], *limits, corpus], Fuzzer(Path(folder)), custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
