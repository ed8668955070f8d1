"""Waste in single calls and runs: failures, retries, reasoning, oversized models, idle machines, queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from inferometer.analyzer.audit_repricing import with_model
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.ledger import DAYS_PER_MONTH
from inferometer.analyzer.outcomes import verdicts
from inferometer.analyzer.waste import Evidence, Examined, Finding, evidence_of, finding
from inferometer.schema.records import Status

ABORTED = frozenset({"abort", "aborted", "cancelled", "canceled", "error"})
REASONING_TO_ANSWER = 10
REASONING_FLOOR_TOKENS = 1_000
"""Reasoning counts as out of proportion above ten times the visible answer and a thousand tokens."""
SMALL_OUTPUT_TOKENS = 128
SMALL_INPUT_TOKENS = 4_000
UTILISATION_METRICS = ("DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE")


def _finding(id_: str, title: str, method: str, calls: Sequence[CostedCall], evidence: list[Evidence]) -> list[Finding]:
    weights = [call.weight for call in calls]
    tokens = sum((item.tokens or 0) * weight for weight, item in zip(weights, evidence, strict=True))
    return finding(id_, title, method, evidence, sum(weights), tokens)


def failed_calls(examined: Examined) -> list[Finding]:
    """Find calls that ended in an error or were aborted, and attempts that had to be repeated."""
    failed, failed_evidence = [], []
    retried, retried_evidence, waited_ns = [], [], 0
    for call in examined.dataset.calls:
        reason = (call.inference.finish_reason or "").lower()
        if call.placement.status is Status.ERROR or reason in ABORTED:
            failed.append(call)
            what = call.placement.error_type or reason or "error"
            failed_evidence.append(evidence_of(call, f"ended in {what}", call.meters.total, call.cost_usd))
        lost = [attempt for attempt in call.inference.attempts if attempt.status is None or attempt.status >= 400]
        if lost:
            retried.append(call)
            lost_ns = sum((a.end_ns - a.start_ns) for a in lost if a.end_ns is not None and a.start_ns is not None)
            waited_ns += round(lost_ns * call.weight)
            codes = ", ".join(str(attempt.status or "no answer") for attempt in lost)
            retried_evidence.append(
                evidence_of(call, f"{len(lost)} failed attempts ({codes}), {lost_ns / 1e9:.1f} s", 0, None)
            )
    findings = _finding(
        "failed_calls",
        "Calls that failed or were aborted",
        "Calls whose span ended in an error or whose finish reason says aborted; all of their tokens.",
        failed,
        failed_evidence,
    )
    retries = _finding(
        "retries",
        "Attempts that had to be repeated",
        "HTTP attempts behind a call that did not succeed; providers do not bill them, their time is lost.",
        retried,
        retried_evidence,
    )
    for found in retries:
        found.tokens, found.duration_ns, found.unpriced = None, waited_ns, 0
    return findings + retries


def disproportionate_reasoning(examined: Examined) -> list[Finding]:
    """Find calls that reason far longer than they answer."""
    calls, evidence = [], []
    for call in examined.dataset.calls:
        meters = call.meters
        if not meters.reasoning or not meters.output or meters.reasoning < REASONING_FLOOR_TOKENS:
            continue
        answer = max(meters.output - meters.reasoning, 1)
        excess = meters.reasoning - REASONING_TO_ANSWER * answer
        if excess <= 0:
            continue
        output_usd = call.cost_by_meter_usd.get("output")
        cost = None if output_usd is None else output_usd * excess / meters.output
        calls.append(call)
        evidence.append(
            evidence_of(call, f"{meters.reasoning:,} tokens of reasoning for {answer:,} of answer", excess, cost)
        )
    return _finding(
        "reasoning",
        "Reasoning out of proportion",
        f"Reasoning tokens above {REASONING_TO_ANSWER} times the visible answer, in calls with at least "
        f"{REASONING_FLOOR_TOKENS:,} of them, at the price of output.",
        calls,
        evidence,
    )


def cheaper_models(
    calls: Sequence[CostedCall], price_all: Callable[[CostedCall, str], Decimal | None]
) -> dict[str, str]:
    """Return, for each model used, the cheapest model of the same provider that the user also uses.

    Models are compared on what all calls of the dearer one would have cost on the other.
    """
    providers: dict[str, set[str]] = {}
    by_model: dict[str, list[CostedCall]] = {}
    for call in calls:
        if call.cost_usd is not None:
            card = call.priced.card
            # spans do not always say who served a call; the list that priced it does
            provider = call.provider or (card.provider if card else call.model)
            providers.setdefault(provider, set()).add(call.model)
            by_model.setdefault(call.model, []).append(call)
    found: dict[str, str] = {}
    for models in providers.values():
        for model in models:
            sample = by_model[model][:20]
            own = sum((call.cost_usd or ZERO for call in sample), ZERO)
            best = own
            for other in sorted(models - {model}):
                costs = [price_all(call, other) for call in sample]
                if any(cost is None for cost in costs):
                    continue
                total = sum((cost or ZERO for cost in costs), ZERO)
                if total < best:
                    best, found[model] = total, other
    return found


def is_small(call: CostedCall) -> bool:
    """Whether a call is small work: a short input answered in few tokens, without reasoning."""
    meters = call.meters
    return (
        0 < call.output_tokens <= SMALL_OUTPUT_TOKENS
        and 0 < call.input_tokens <= SMALL_INPUT_TOKENS
        and not meters.reasoning
    )


def small_work(examined: Examined) -> list[Finding]:
    """Find short calls on a model dearer than another that the user already has in use at the same provider."""
    dataset = examined.dataset
    small = [call for call in dataset.calls if is_small(call) and call.cost_usd is not None]
    if not small:
        return []
    cheaper = cheaper_models(dataset.calls, lambda call, model: with_model(call, dataset.price, model).cost_usd)
    calls, evidence = [], []
    for call in small:
        other = cheaper.get(call.model)
        if other is None or call.cost_usd is None:
            continue
        cost = with_model(call, dataset.price, other).cost_usd
        if cost is None or cost >= call.cost_usd:
            continue
        calls.append(call)
        evidence.append(
            evidence_of(call, f"{call.model}; {other} is in use too", call.meters.total, call.cost_usd - cost)
        )
    return _finding(
        "small_work",
        "Small work on a large model",
        f"Calls of at most {SMALL_INPUT_TOKENS:,} tokens in and {SMALL_OUTPUT_TOKENS} out, without reasoning, at what "
        "they cost above the cheapest model of the same provider that is in use.",
        calls,
        evidence,
    )


def failed_runs(examined: Examined) -> list[Finding]:
    """Find what went into runs that failed, by their outcome, else by the status of their root span."""
    dataset = examined.dataset
    verdict = verdicts(dataset)
    calls, evidence = [], []
    for run in dataset.runs:
        failed = not verdict[run.run_id] if run.run_id in verdict else run.status is Status.ERROR
        if not failed:
            continue
        in_run = dataset.calls_by_run.get(run.run_id, [])
        if not in_run:
            continue
        calls += in_run
        evidence += [
            evidence_of(call, f"in {run.agent_name or run.name}, which failed", call.meters.total, call.cost_usd)
            for call in in_run
        ]
    return _finding(
        "failed_runs",
        "Spend on runs that failed",
        "Every call of a run whose outcome says it failed or, where no outcome is recorded, whose root span ended in "
        "an error.",
        calls,
        evidence,
    )


def idle_reserved(examined: Examined) -> list[Finding]:
    """Find reserved hardware that measured samples show idle; nothing is said where nothing was measured."""
    samples = [sample for sample in examined.dataset.serving_samples if sample.metric in UTILISATION_METRICS]
    reserved = examined.ledger.reserved
    if not samples or not reserved:
        return []
    values = [sample.value / 100 if sample.metric == "DCGM_FI_DEV_GPU_UTIL" else sample.value for sample in samples]
    idle = 1 - sum(values) / len(values)
    hourly = sum((entry.gpus * entry.usd_per_gpu_hour for entry in reserved), ZERO)
    monthly = hourly * 24 * DAYS_PER_MONTH
    hours = Decimal(repr(examined.dataset.days)) * 24
    return [
        Finding(
            "idle_reserved",
            "Reserved accelerators that stand idle",
            0,
            None,
            hourly * hours * Decimal(repr(round(idle, 6))),
            f"{len(values)} samples of measured utilisation, mean {1 - idle:.0%}, times the ledger's reserved hours "
            f"(${monthly:,.0f} a month).",
        )
    ]


def waiting_for_engine(examined: Examined) -> list[Finding]:
    """Find time that calls spent before the accelerator worked on them, where client and server spans show it."""
    calls, evidence, waited_ns = [], [], 0
    for call in examined.dataset.calls:
        queue_ns = call.inference.queue_ns
        if queue_ns is None and call.inference.ttft_ns is not None and call.inference.prefill_ns is not None:
            queue_ns = max(0, call.inference.ttft_ns - call.inference.prefill_ns)
        if not queue_ns:
            continue
        waited_ns += round(queue_ns * call.weight)
        calls.append(call)
        evidence.append(evidence_of(call, f"{queue_ns / 1e9:.2f} s before prefill", 0, None))
    findings = _finding(
        "waiting",
        "Time lost before the accelerator",
        "Queue time of the engine's own span, or the client's time to first token less the engine's prefill.",
        calls,
        evidence,
    )
    for found in findings:
        found.tokens, found.duration_ns, found.unpriced = None, waited_ns, 0
    return findings
