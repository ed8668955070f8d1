"""The options that describe a scenario, shared by ``replay`` and ``sweep``."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from inferometer.schema.errors import InputError, UserError
from inferometer.schema.selection import Selection

if TYPE_CHECKING:
    from inferometer.analyzer.replay_scenario import Arrivals, Objective, Scenario
    from inferometer.analyzer.workload import Workload

DEAREST_USD = 1_000_000
"""Per chip-hour; a typing error above."""

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--engine", metavar="E", help="Engine profile, NAME or NAME==VERSION [default: the machine's own, else vllm]."
    ),
    click.option("--model", required=True, metavar="M", help="Model profile, such as meta-llama/Llama-3.1-70B."),
    click.option("--precision", metavar="P", help="Of the weights: bf16, fp8, int8, int4, fp4 [default: the model's]."),
    click.option("--kv-precision", metavar="P", help="Of the KV cache: bf16 or fp8 [default: the engine's]."),
    click.option("--tp", type=int, help="Tensor-parallel ranks of a replica [default: 1, or a whole machine's]."),
    click.option("--pp", type=int, help="Pipeline stages of a replica [default: 1, or a whole machine's]."),
    click.option("--ep", type=int, default=1, show_default=True, help="Expert-parallel ranks of a replica."),
    click.option("--dp", type=int, default=1, show_default=True, help="Data-parallel attention groups of a replica."),
    click.option("--replicas", type=int, default=1, show_default=True, help="Replicas behind the router."),
    click.option("--router", default="prefix", show_default=True, help="prefix, least_loaded or round_robin."),
    click.option("--disaggregate", metavar="P:D", help="P prefill and D decode replicas instead of whole ones."),
    click.option("--speculative", type=int, default=0, show_default=True, metavar="K", help="Tokens drafted per step."),
    click.option("--speculative-kind", default="mtp", show_default=True, help="mtp, eagle or draft."),
    click.option("--draft-model", metavar="M", help="That drafts, with --speculative-kind draft."),
    click.option("--acceptance-length", type=float, metavar="N", help="Tokens a step yields [default: as published]."),
    click.option("--max-sequences", type=int, metavar="N", help="Of a batch [default: the engine's]."),
    click.option("--max-step-tokens", type=int, metavar="N", help="Of a step [default: the engine's]."),
    click.option("--chunk-tokens", type=int, metavar="N", help="Of one prompt in a step."),
    click.option("--kv-tokens", type=int, metavar="N", help="That a replica holds [default: worked out]."),
    click.option("--prefix-cache/--no-prefix-cache", default=True, show_default=True, help="Keep finished prompts."),
    click.option("--offload-gib", type=float, default=0.0, show_default=True, help="Host memory for evicted blocks."),
    click.option("--offload-gb-per-s", type=float, default=25.0, show_default=True, help="Read back, per chip."),
    click.option("--concurrency", type=int, metavar="N", help="Sessions at a time, 8 where starts are unknown."),
    click.option(
        "--arrivals", metavar="HOW", help="recorded, poisson:RATE (sessions per second) or file:PATH (seconds)."
    ),
    click.option("--scale", type=float, default=1.0, show_default=True, help="Start sessions so many times faster."),
    click.option("--idle-cap", type=float, metavar="S", help="Cut longer human gaps; tells no cost."),
    click.option("--open-loop", is_flag=True, help="Every call at its recorded time; tells no cost."),
    click.option(
        "--background",
        metavar="RATE[:PROFILE]",
        help="Other tenants' calls per second, long as own, azure_conv, azure_code, mooncake or a trace's file.",
    ),
    click.option("--round-trip", type=float, default=0.0, show_default=True, metavar="S", help="Of the network."),
    click.option("--gateway-workers", type=int, default=0, show_default=True, help="Check and tokenise; 0: no limit."),
    click.option("--priorities", is_flag=True, help="Serve runs by purpose: serve, develop, evaluate, train."),
    click.option(
        "--input-scale", type=float, metavar="X", help="On input tokens [default: vocabularies' measured ratio]."
    ),
    click.option("--output-scale", type=float, default=1.0, show_default=True, help="On output tokens."),
    click.option(
        "--slo", multiple=True, metavar="NAME=TIME", help="Goodput: ttft=2s, tpot=100ms; capacity: ttft_p95=2s."
    ),
    click.option("--price", metavar="USD", help="Per chip-hour instead of the profile's."),
    click.option("--price-basis", default="on_demand", show_default=True, help="on_demand, reserved, spot, owned ..."),
    click.option(
        "--rental-unit", type=float, default=1.0, show_default=True, metavar="H", help="Least hours one can rent."
    ),
    click.option("--utilisation", type=float, default=0.3, show_default=True, help="Of a shared fleet."),
    click.option("--grid", type=float, default=369.0, show_default=True, metavar="G", help="gCO2e per kWh."),
    click.option("--pue", type=float, help="Of the facility [default: within the profile's all-in power]."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all draws."),
)


def scenario_options(command: Command) -> Command:
    """Add every option of a scenario but its hardware."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_scenario(hardware: str, **options: Any) -> Scenario:
    """Return the scenario that the options describe.

    Raises:
        UserError: an option that cannot be understood.
    """
    from inferometer.analyzer.replay_fleet import own_engine
    from inferometer.analyzer.replay_scenario import Payment, Scenario
    from inferometer.profiles.hardware import load_hardware

    rate, _, profile = (options["background"] or "0").partition(":")
    return Scenario(
        hardware=hardware,
        engine=options["engine"] or (own_engine(load_hardware(hardware)) if hardware else None) or "vllm",
        model=options["model"],
        precision=options["precision"],
        kv_precision=options["kv_precision"],
        tp=options["tp"],
        pp=options["pp"],
        ep=options["ep"],
        dp=options["dp"],
        replicas=options["replicas"],
        router=options["router"],
        disaggregate=_pair(options["disaggregate"]),
        speculative_tokens=options["speculative"],
        speculative_kind=options["speculative_kind"],
        draft_model=options["draft_model"],
        acceptance_length=options["acceptance_length"],
        max_sequences=options["max_sequences"],
        max_step_tokens=options["max_step_tokens"],
        chunk_tokens=options["chunk_tokens"],
        kv_tokens=options["kv_tokens"],
        prefix_cache=options["prefix_cache"],
        offload_gib=options["offload_gib"],
        offload_gb_per_s=options["offload_gb_per_s"],
        round_trip_s=options["round_trip"],
        gateway_workers=options["gateway_workers"],
        use_priorities=options["priorities"],
        background_rate_per_s=_number("--background", rate),
        background_profile=profile or "own",
        input_scale=options["input_scale"],
        output_scale=options["output_scale"],
        arrivals=_arrivals(options),
        objective=_objective(options["slo"]),
        payment=Payment(
            basis=options["price_basis"],
            usd_per_chip_hour=_money(options["price"]),
            rental_unit_h=options["rental_unit"],
            utilisation=options["utilisation"],
            grid_gco2e_per_kwh=options["grid"],
            pue=options["pue"],
        ),
        seed=options["seed"],
    )


def load_recorded(store_url: str | None, chosen: Selection, price_file: str | None, model: str) -> Workload:
    """Return the recorded calls to replay on a model, with what they cost where they ran."""
    from inferometer.analyzer.workload import load_workload
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        return load_workload(store, chosen, lambda row: prices.price(row).effective_cost_usd, replayed_model=model)


def _arrivals(options: dict[str, Any]) -> Arrivals:
    from inferometer.analyzer.replay_scenario import Arrivals

    how, concurrency = options["arrivals"], options["concurrency"]
    if how and concurrency is not None:
        raise UserError("--arrivals and --concurrency both say when sessions start: give one")
    kind, _, value = (how or "auto").partition(":")
    if concurrency is not None:
        kind = "concurrency"
    if kind not in ("auto", "recorded", "concurrency", "poisson", "file"):
        raise UserError(f"--arrivals is {how!r}: write recorded, poisson:RATE or file:PATH")
    return Arrivals(
        kind="times" if kind == "file" else kind,
        concurrency=8 if concurrency is None else concurrency,
        rate_per_s=_number("--arrivals", value) if kind == "poisson" else None,
        times_s=_times(value) if kind == "file" else (),
        scale=options["scale"],
        idle_cap_s=options["idle_cap"],
        open_loop=options["open_loop"],
    )


def _times(path: str) -> tuple[float, ...]:
    try:
        words = Path(path).read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return tuple(_number(path, word) for word in words)


def _objective(words: tuple[str, ...]) -> Objective:
    from inferometer.analyzer.replay_scenario import Objective

    values: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name.partition("_p")[0] in ("ttft", "tpot"):
            values[f"{name.partition('_p')[0]}_s"] = parse_seconds(value)
        elif "_p" not in name:
            raise UserError(
                f"--slo is {word!r}: write ttft=2s, tpot=50ms, or a percentile to plan for as in ttft_p95=2s"
            )
    return Objective(**values)


def parse_seconds(text: str) -> float:
    """Return the seconds of ``2s``, ``50ms`` or a plain number of seconds.

    Raises:
        UserError: it is neither, or not above 0.
    """
    number, divisor = (text[:-2], 1000) if text.endswith("ms") else (text.removesuffix("s"), 1)
    try:
        seconds = float(number) / divisor
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UserError(f"--slo: {text!r} is no time: write NAME=TIME, such as ttft=2s or tpot=50ms")
    return seconds


def _pair(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    prefill, colon, decode = text.partition(":")
    if not (colon and prefill.isdigit() and decode.isdigit()):
        raise UserError(f"--disaggregate is {text!r}: write P:D, such as 1:2")
    return int(prefill), int(decode)


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name}: {text!r} is not a number")
    return number


def _money(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise UserError(f"--price: {text!r} is not an amount") from None
    if not amount.is_finite() or not 0 <= amount <= DEAREST_USD:
        raise UserError(f"--price: {text!r} is not an amount of dollars from 0 to {DEAREST_USD:,}")
    return amount
