"""``inferometer sweep``: the store on every profile that fits."""

from __future__ import annotations

from typing import Any

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.cli.scenario import build_scenario, load_recorded, scenario_options
from inferometer.schema.selection import Selection


@click.command("sweep")
@scenario_options
@click.option("--hardware", multiple=True, metavar="H", help="Only these profiles, repeatable [default: all].")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Replays at a time [default: the processors].")
@prices_option
@store_option
@selection_options
@json_option
def command(
    hardware: tuple[str, ...],
    jobs: int | None,
    precision: str | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
    **options: Any,
) -> None:
    """Replay the recorded calls on every profile that fits; mark what no other one beats."""
    from inferometer.analyzer.replay_sweep import sweep
    from inferometer.profiles.hardware import load_hardware
    from inferometer.profiles.models import load_model

    for name in hardware:
        load_hardware(name)  # a wrong name is told before the store is read
    model = load_model(options["model"]).id
    base = build_scenario(hardware=hardware[0] if hardware else "", precision=precision, **options)
    workload = load_recorded(store_url, chosen, price_file, model)
    document = sweep(
        workload, base, hardware=hardware, precisions=[precision] if precision else (), jobs=jobs
    ).as_dict()
    if as_json:
        print_json(document)
        return
    from inferometer.reports.terminal_replay import print_sweep

    print_sweep(document)
