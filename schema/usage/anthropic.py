"""Anthropic's usage object: input excludes cached tokens, thinking is inside the output.

Source: docs.anthropic.com, Messages API, `usage`; recorded bodies of 2023 to 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSemantics
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.EXCLUSIVE

_FEES = {"web_search_requests": "web_search", "web_fetch_requests": "web_fetch"}


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a ``usage`` object."""
    split = mapping_of(usage.get("cache_creation"))
    five_minutes = count_of(split.get("ephemeral_5m_input_tokens"))
    one_hour = count_of(split.get("ephemeral_1h_input_tokens"))
    written = count_of(usage.get("cache_creation_input_tokens"))
    if written is not None and (five_minutes or 0) + (one_hour or 0) != written:
        # the sum is what is billed; what the split leaves out has the default lifetime
        five_minutes = max(0, written - (one_hour or 0))
    details = mapping_of(usage.get("output_tokens_details"))
    body = BodyUsage(
        meters=Meters(
            input_fresh=count_of(usage.get("input_tokens")),
            cache_read=count_of(usage.get("cache_read_input_tokens")),
            cache_write_5m=five_minutes,
            cache_write_1h=one_hour,
            output=count_of(usage.get("output_tokens")),
            reasoning=count_of(details.get("thinking_tokens")),
        ),
        semantics=SEMANTICS,
        raw=dict(usage),
        service_tier=text_of(usage.get("service_tier")),
    )
    tools = mapping_of(usage.get("server_tool_use"))
    for key, sku in _FEES.items():
        quantity = count_of(tools.get(key))
        if quantity:
            body.fees.append(Fee(sku, quantity, "request"))
    return body
