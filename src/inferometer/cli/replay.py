"""``inferometer replay``: one scenario over the store."""

from __future__ import annotations

from typing import Any

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.cli.scenario import build_scenario, load_recorded, parse_seconds, scenario_options
from inferometer.schema.errors import UnknownNameError
from inferometer.schema.selection import Selection


@click.command("replay")
@scenario_options
@click.option("--hardware", required=True, metavar="H", help="Hardware profile, such as h100_sxm.")
@click.option("--spare", type=click.IntRange(0), default=1, show_default=True, help="Replicas planned to spare.")
@click.option("--day", default="flat", show_default=True, help="Load by the hour to plan for: flat or office.")
@click.option(
    "--cold-start", type=click.FloatRange(0), default=300.0, show_default=True, metavar="S", help="Of a replica."
)
@click.option("--sensitivity", is_flag=True, help="Also at half and twice the output and steps.")
@prices_option
@store_option
@selection_options
@json_option
def command(
    hardware: str,
    spare: int,
    day: str,
    cold_start: float,
    sensitivity: bool,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
    **options: Any,
) -> None:
    """Replay the recorded calls on other hardware: what it would take and cost there."""
    from inferometer.analyzer.replay import replay
    from inferometer.analyzer.replay_capacity import SHAPES, Target, plan_capacity
    from inferometer.analyzer.replay_fleet import build_step_model

    scenario = build_scenario(hardware=hardware, **options)
    words = (word.partition("=") for word in options["slo"])
    targets = [Target.named(name, parse_seconds(limit)) for name, _, limit in words if "_p" in name]
    if day not in SHAPES:
        raise UnknownNameError("shape of a day", day, SHAPES)
    model = build_step_model(scenario).model.id  # a wrong name is told before the store is read
    workload = load_recorded(store_url, chosen, price_file, model)
    document = replay(workload, scenario).as_dict()
    if sensitivity:
        from inferometer.analyzer.replay_sensitivity import measure_sensitivity

        document["sensitivity"] = measure_sensitivity(workload, scenario)
    if targets:
        document["capacity"] = plan_capacity(
            workload, scenario, targets, spare=spare, shape=SHAPES[day], cold_start_s=cold_start
        ).as_dict()
    if as_json:
        print_json(document)
        return
    from inferometer.reports.terminal_replay import print_replay

    print_replay(document)
