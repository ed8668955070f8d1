"""``inferometer calibrate``: measure this machine, or one's own deployment, into a profile."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from inferometer.cli.options import json_option, print_json, selection_options, store_option
from inferometer.cli.output import OutputFile, write_whole
from inferometer.schema.selection import Selection


@click.command("calibrate")
@click.option("--device", metavar="DEVICE", help="cuda, cuda:1 or cpu [default: the first GPU, else the processor].")
@click.option("--like", metavar="HARDWARE", help="Take peaks from this profile's data sheet.")
@click.option("--out", type=OutputFile(), metavar="FILE.toml", help="Where the profile goes.")
@click.option("--from-traces", is_flag=True, help="Calibrate on the store's server spans instead of on kernels.")
@click.option("--hardware", metavar="HARDWARE", help="With --from-traces: what the server ran on.")
@click.option("--engine", metavar="ENGINE", default="vllm", show_default=True, help="With --from-traces.")
@click.option("--model", metavar="MODEL", help="With --from-traces: the served model.")
@click.option("--precision", metavar="PRECISION", help="With --from-traces: of the weights.")
@click.option("--tp", type=click.IntRange(min=1), default=1, help="With --from-traces: tensor-parallel ranks.")
@click.option("--replicas", type=click.IntRange(min=1), default=1, help="With --from-traces: servers behind the spans.")
@store_option
@selection_options
@json_option
def command(
    device: str | None,
    like: str | None,
    out: str | None,
    from_traces: bool,
    hardware: str | None,
    engine: str,
    model: str | None,
    precision: str | None,
    tp: int,
    replicas: int,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> None:
    """Measure this machine with PyTorch, or a deployment from its own spans, into a profile.

    Without --out the profile goes to the user's folder of profiles, where every command finds it.
    """
    if from_traces:
        _calibrate_on_traces(hardware, engine, model, precision, tp, replicas, store_url, chosen, out, as_json)
        return
    from inferometer.analyzer.calibrate import measure, profile_text
    from inferometer.profiles.hardware import load_hardware

    sheet = load_hardware(like) if like else None
    found = measure(device)
    path = Path(out) if out else _own("hardware", _slug(found.device))
    _write(path, profile_text(found, datetime.now(UTC).date(), sheet))
    if as_json:
        print_json({"path": str(path), "measured": asdict(found)})
        return
    click.echo(f"{found.device}, {found.software}")
    click.echo(f"  copy                {found.copy_bytes_per_s / 1e9:10,.1f} GB/s")
    for name in found.precisions:
        click.echo(f"  products in {name:8}{(found.peak(name) or 0) / 1e12:10,.3f} Top/s")
    click.echo(f"  decode attention    {found.decode_attention_bytes_per_s / 1e9:10,.1f} GB/s")
    click.echo(f"  prompt attention    {found.prefill_attention_flop_per_s / 1e12:10,.3f} Top/s")
    click.echo(f"wrote {path}; use it as --hardware {path.stem}")


def _calibrate_on_traces(
    hardware: str | None,
    engine: str,
    model: str | None,
    precision: str | None,
    tp: int,
    replicas: int,
    store_url: str | None,
    chosen: Selection,
    out: str | None,
    as_json: bool,
) -> None:
    from inferometer.analyzer.calibrate_traces import calibrate_on, calibration_text, served_requests
    from inferometer.analyzer.steptime import step_model
    from inferometer.profiles.engines import CALIBRATION, load_engine
    from inferometer.profiles.hardware import load_hardware
    from inferometer.profiles.models import load_model
    from inferometer.store import open_store

    if not hardware or not model:
        raise click.UsageError("--from-traces needs --hardware and --model: what the server ran on, and what it served")
    deployed = step_model(load_hardware(hardware), load_engine(engine), load_model(model), precision=precision, tp=tp)
    with open_store(store_url, create=False) as store:
        requests = served_requests(store.inferences(chosen), deployed.model)
    found = calibrate_on(requests, deployed, replicas)
    path = Path(out) if out else _own("engines", f"{deployed.engine.id}{CALIBRATION}")
    _write(path, calibration_text(found, deployed, datetime.now(UTC).date()))
    if as_json:
        print_json({"path": str(path), "calibration": asdict(found)})
        return
    click.echo(f"{found.requests:,} requests of {deployed.model.id} on {hardware} by {engine}, tp {tp}")
    click.echo(f"  decode steps take {found.step_factor:.2f} x the model's time; median error {found.tpot_error:.1%}")
    click.echo(f"wrote {path}")


def _own(kind: str, stem: str) -> Path:
    from inferometer.profiles.documents import user_folders

    return user_folders()[0] / kind / f"{stem}.toml"


def _slug(name: str) -> str:
    words = "".join(letter.lower() if letter.isalnum() else " " for letter in name).split()
    return "measured_" + "_".join(words)


def _write(path: Path, text: str) -> None:
    from inferometer.schema.errors import InputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # the user's own folder may not be there yet
    except OSError as error:
        raise InputError(str(path), f"cannot be written: {error.strerror}") from error
    with write_whole(str(path)) as stream:
        stream.write(text)
