"""File formats: one module each, one shape. The order here is the order in which a file is tried."""

from __future__ import annotations

from inferometer.ingest.importers import (
    agentic_mooncake,
    answers,
    cassettes,
    claude_code,
    coding_agents,
    langfuse,
    lmcache,
    openhands,
    otlp_json,
    otlp_protobuf,
    pi,
    requests,
    sdk_json,
    swe_agent,
    tapeagents,
    tau_bench,
    weka,
)
from inferometer.ingest.importers.importer import Importer, Source
from inferometer.schema.errors import InputError, UnknownNameError

IMPORTERS: tuple[Importer, ...] = (
    otlp_json.JSON,
    langfuse.IMPORTER,
    sdk_json.JSON,
    sdk_json.SINGLE,
    weka.IMPORTER,
    pi.IMPORTER,
    coding_agents.CODEX,
    coding_agents.GEMINI,
    coding_agents.OPENCODE,
    coding_agents.OPENCODE_DATABASE,
    claude_code.IMPORTER,
    swe_agent.IMPORTER,
    swe_agent.MINI,
    openhands.IMPORTER,
    tau_bench.IMPORTER,
    lmcache.IMPORTER,
    tapeagents.IMPORTER,
    agentic_mooncake.IMPORTER,
    requests.MOONCAKE,
    requests.AZURE,
    requests.BURSTGPT,
    requests.VIDUR,
    cassettes.IMPORTER,
    answers.IMPORTER,
    otlp_protobuf.IMPORTER,
)


def importer_named(name: str) -> Importer:
    """Return the importer of a format.

    Raises:
        UnknownNameError: there is no such format.
    """
    for importer in IMPORTERS:
        if importer.name == name:
            return importer
    raise UnknownNameError("format", name, [importer.name for importer in IMPORTERS])


def importer_of(source: Source) -> Importer:
    """Return the importer whose format a file is of; what cannot be read in parts is held whole from here on.

    Raises:
        InputError: it is of none.
    """
    if source.is_large:
        for importer in IMPORTERS:
            if importer.cuts is not None and importer.matches(source):
                return importer
        source.load()
    for importer in IMPORTERS:
        if importer.matches(source):
            return importer
    raise InputError(str(source.path), "is of no format that is known; --format names one")
