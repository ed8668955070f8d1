"""``inferometer profiles``: list, show and validate profiles."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from inferometer.cli.options import json_option, print_json
from inferometer.profiles.documents import Document, find
from inferometer.profiles.kinds import KINDS, kind_of
from inferometer.profiles.toml import read_text
from inferometer.schema.errors import ProfileError, UnknownNameError


@click.group("profiles")
def command() -> None:
    """List, show and validate profiles of hardware, engines, models, caching, fine-tuning, training and claims."""


@command.command("list")
@click.argument("kind", required=False, type=click.Choice(tuple(KINDS)))
@json_option
def list_profiles(kind: str | None, as_json: bool) -> None:
    """List profiles by id, with their other names."""
    found = {each: KINDS[each].profiles() for each in ([kind] if kind else KINDS)}
    if as_json:
        document = {
            each: [{"id": profile.id, "aliases": list(profile.aliases)} for profile in profiles.values()]
            for each, profiles in found.items()
        }
        print_json({"profiles": document})
        return
    for each, profiles in found.items():
        click.echo(f"{each} ({len(profiles)})")
        for profile in profiles.values():
            others = f"  also {', '.join(profile.aliases)}" if profile.aliases else ""
            click.echo(f"  {profile.id}{others}")


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show one profile, whatever its kind, as it was read (SI units)."""
    known: list[str] = []
    for kind in KINDS:
        profiles = KINDS[kind].profiles()
        try:
            profile = find("profile", name, profiles)
        except UnknownNameError:
            known += [other for each in profiles.values() for other in (each.id, *each.aliases)]
            continue
        if as_json:
            print_json({"kind": kind, "profile": _plain(profile)})
        else:
            click.echo(f"{kind}: {profile.id}")
            _print_tree(_plain(profile), 1)
        return
    raise UnknownNameError("profile", name, known)


@command.command("validate")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@json_option
def validate(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check profile files, or all shipped and own ones where none is named; says what is wrong and exits with 2."""
    if not paths:
        counts = {name: len(kind.profiles()) for name, kind in KINDS.items()}
    else:
        counts = {}
        for path in paths:
            kind = _read_file(path)
            counts[kind] = counts.get(kind, 0) + 1
    if as_json:
        print_json({"valid": counts})
        return
    click.echo("valid: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))


def _read_file(path: Path) -> str:
    """Read one file as the kind that its folder or its keys name; return the kind."""
    document = Document(str(path), path.stem, read_text(path))
    kind = path.parent.name if path.parent.name in KINDS else kind_of(document)
    if kind is None:
        raise ProfileError(str(path), f"is none of {', '.join(KINDS)}: put it into a folder of that name")
    KINDS[kind].read(document)
    return kind


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def _print_tree(value: dict[str, Any], depth: int) -> None:
    for key, item in value.items():
        if isinstance(item, dict):
            click.echo("  " * depth + key)
            _print_tree(item, depth + 1)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for each in item:
                click.echo("  " * depth + key)
                _print_tree(each, depth + 1)
        else:
            click.echo("  " * depth + f"{key}: {_words(item)}")


def _words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return format(value, "f") if isinstance(value, Decimal) else str(value)
