"""Where cached and reasoning tokens sit, inside a count or beside it: the total decides, else what is declared."""

from __future__ import annotations


def is_inclusive(
    given: int, cached: int, output: int | None, total: int | None, reasoning: int | None, default: bool
) -> tuple[bool, str | None]:
    """Return whether an input count holds its cached tokens, and why where that is not what was declared.

    Args:
        given: tokens of input as written.
        cached: tokens read from and written to caches.
        output: tokens of output as written.
        total: all tokens as written.
        reasoning: tokens of reasoning as written.
        default: what the emitter declares.
    """
    if total is not None and output is not None:
        sums = {output, output + (reasoning or 0)}
        inside, beside = total - given in sums, total - given - cached in sums
        if inside != beside:
            where = "inside" if inside else "beside"
            return inside, None if inside == default else f"total shows cached tokens {where} the input count"
    if default and cached > given:
        return False, "more cached tokens than input: they stand beside the input count"
    return default, None


def all_output(
    output: int, reasoning: int | None, all_input: int | None, total: int | None, beside: bool
) -> tuple[int, str | None]:
    """Return all tokens of output, reasoning included, and why where that is not what was declared.

    Args:
        output: tokens of output as written.
        reasoning: tokens of reasoning as written.
        all_input: tokens of input, cached ones included.
        total: all tokens as written.
        beside: whether the emitter declares that reasoning stands beside its output count.
    """
    if not reasoning:
        return output, None
    if all_input is not None and total is not None:
        rest = total - all_input
        if rest in {output, output + reasoning}:
            found = rest != output
            where = "beside" if found else "inside"
            return rest, None if found == beside else f"total shows reasoning {where} the output count"
    if beside:
        return output + reasoning, None
    if reasoning > output:
        return output + reasoning, "more reasoning than output: it stands beside the output count"
    return output, None


def fitted(given: int, *cached: int | None) -> tuple[list[int | None], str | None]:
    """Return cached counts that together fit into an inclusive input count, and why where they had to be cut.

    Args:
        given: tokens of input, cached ones included.
        cached: tokens read from and written to caches, in the order in which they are believed.
    """
    if sum(count or 0 for count in cached) <= given:
        return list(cached), None
    left, kept = given, list[int | None]()
    for count in cached:
        kept.append(None if count is None else min(count, left))
        left -= kept[-1] or 0
    return kept, "cached tokens were told twice, as read and as written: they count once"
