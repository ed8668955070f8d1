"""Keyed fingerprints of a tool and its arguments: equal calls are found, nothing can be read back."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from inferometer.tracer.privacy import to_json

FINGERPRINT_BYTES = 12


def fingerprint(tool: str, arguments: Any) -> bytes:
    """Return the fingerprint of one tool call.

    Args:
        tool: its name.
        arguments: a mapping, or JSON text of one as models write it; key order and spacing do not matter.

    Returns:
        12 bytes of BLAKE2b under the user's key (``inferometer.tokens``).
    """
    from inferometer.tokens.keys import hash_key

    text = f"{tool}\x1f{canonical(arguments)}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=FINGERPRINT_BYTES, key=hash_key(), person=b"inferometer.arg").digest()


def canonical(arguments: Any) -> str:
    """Return arguments as JSON with sorted keys and no spaces; text that is no JSON stays as it is."""
    if isinstance(arguments, (str, bytes)):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return arguments if isinstance(arguments, str) else arguments.decode("utf-8", "replace")
    try:
        return json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError):
        return json.dumps(json.loads(to_json(arguments)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
