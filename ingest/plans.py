"""How spans of one shape are read: worked out once for a scope and a set of keys, then only looked up.

An instrumentation writes the same keys over and over, so what its spans' dialect is, which alias stands for which field
and which keys are tags need not be asked for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferometer.ingest.dialects import dialect_of, wrapper_of
from inferometer.ingest.dialects.dialect import Dialect, Fields
from inferometer.ingest.retention import MAX_NAME, Verdict, clean, verdicts_of
from inferometer.ingest.sampling import SAMPLER_KEYS
from inferometer.schema.attributes import TAG

PLANS_REMEMBERED = 4096
_INPUT_FIELDS = frozenset({"input_messages", "prompt_messages", "value_input", "system"})
_INDEXED_INPUT = ("llm.input_messages.", "gen_ai.prompt.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What holds for all spans of one scope and one set of keys.

    Args:
        dialect: that reads them.
        wrapper: another one that stands around it.
        reads: field and the key it is read from.
        tags: key, name of the tag, and whether it is a tag of ours, which needs no judging.
        holds_input: whether the messages of a call may be among the attributes.
        holds_sampling: whether a sampler's own keys are among them.
        scope: the scope's name as it is stored.
        verdicts: what becomes of each attribute.
    """

    dialect: Dialect | None
    wrapper: Dialect | None
    reads: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str, bool], ...]
    holds_input: bool
    holds_sampling: bool
    scope: str | None
    verdicts: tuple[Verdict, ...]

    def read(self, attributes: Mapping[str, Any]) -> Fields:
        """Return the fields of one span."""
        fields = {name: attributes[key] for name, key in self.reads}
        if self.reads and None in fields.values():
            # an alias without a value gives way to the next one
            assert self.dialect is not None
            return self.dialect.read(attributes)
        return fields


_PLANS: dict[tuple[str | None, tuple[str, ...]], Plan] = {}


def plan_of(scope: str | None, attributes: Mapping[str, Any]) -> Plan:
    """Return the plan for a span of a scope with these attributes."""
    shape = (scope, tuple(attributes))
    plan = _PLANS.get(shape)
    if plan is None:
        if len(_PLANS) >= PLANS_REMEMBERED:  # shapes come from outside: what is remembered must stay bounded
            _PLANS.clear()
        plan = _PLANS[shape] = _make(scope, attributes)
    return plan


def _make(scope: str | None, attributes: Mapping[str, Any]) -> Plan:
    dialect = dialect_of(scope, attributes)
    wrapper = wrapper_of(attributes)
    reads: tuple[tuple[str, str], ...] = ()
    tags = []
    prefixes: tuple[str, ...] = (TAG,)
    if dialect is not None:
        prefixes += dialect.tag_prefixes
        # every value counts as present: which key is read depends on the keys alone
        reads = tuple(dialect.read({key: key for key in attributes}).items())
    for key in attributes:
        if key.startswith(prefixes):
            name = next(key[len(prefix) :] for prefix in prefixes if key.startswith(prefix))
            if name:
                tags.append((key, name, key.startswith(TAG)))
    names = {name for name, _ in reads}
    holds_input = not names.isdisjoint(_INPUT_FIELDS) or any(key.startswith(_INDEXED_INPUT) for key in attributes)
    holds_sampling = "weight" in names or not SAMPLER_KEYS.isdisjoint(attributes)
    other = wrapper if wrapper is not dialect else None
    stored_scope = clean(scope, MAX_NAME) if scope else None
    verdicts = verdicts_of(attributes, dialect)
    return Plan(dialect, other, reads, tuple(tags), holds_input, holds_sampling, stored_scope, verdicts)
