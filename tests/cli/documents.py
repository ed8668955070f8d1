"""What commands print as JSON, held to its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from click.testing import CliRunner, Result

from inferometer.cli import main

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
GROUPS = ("store", "tokens", "profiles")


def invoke(*arguments: str) -> Result:
    """Run a command that succeeds."""
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def document(*arguments: str) -> dict[str, Any]:
    """Return what a command prints with ``--json``, which has no key that its schema does not name."""
    loaded: dict[str, Any] = json.loads(invoke(*arguments, "--json").stdout)
    keep_to_schema(" ".join(arguments[: 2 if arguments[0] in GROUPS else 1]), loaded)
    return loaded


def keep_to_schema(command: str, loaded: dict[str, Any]) -> None:
    """Hold a document to the schema of a command."""
    schema = json.loads((SCHEMAS / f"{command.replace(' ', '-')}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(closed(schema)).validate(loaded)


def closed(schema: Any) -> Any:
    """Return a schema that forbids every key it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    open_still = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema and "additionalProperties" not in schema:
        open_still["unevaluatedProperties"] = False
    return open_still
