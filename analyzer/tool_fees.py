"""What tool calls cost by the prices that the user states for them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from decimal import Decimal

from inferometer.profiles.prices import PriceList
from inferometer.schema.records import Charge
from inferometer.schema.rows import Placement, ToolCallRow


def tool_fees(
    tools: Iterable[ToolCallRow], prices: PriceList, charged: Container[tuple[bytes, bytes]]
) -> Iterator[tuple[Charge, Placement, Decimal]]:
    """Yield a charge, its place and its US dollars for each tool call that has a price and no charge of its own.

    Args:
        tools: tool calls; those that are views of others cost nothing.
        prices: the price list with the user's prices of tools.
        charged: (trace_id, span_id) of what a recorded charge is on.
    """
    for tool in tools:
        call = tool.tool_call
        if call.merged_into is not None or (call.trace_id, call.span_id) in charged:
            continue
        cost_usd = prices.price_tool(tool)
        if cost_usd is not None:
            charge = Charge(call.trace_id, call.span_id, call.name, Decimal(1), "call", cost_usd, "prices.toml")
            yield charge, tool.placement, cost_usd
