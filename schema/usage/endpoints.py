"""Which provider and which of its interfaces an URL leads to, and what the URL says about the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from inferometer.schema.records import Operation
from inferometer.schema.usage import (
    anthropic,
    bedrock,
    cohere,
    gemini,
    gemini_interactions,
    ollama,
    openai,
    openai_assistants,
    openai_responses,
)
from inferometer.schema.usage.body import BodyUsage

_HOSTS: tuple[tuple[str, str], ...] = (
    (r"(^|\.)openai\.azure\.com$|(^|\.)cognitiveservices\.azure\.com$", "azure.ai.openai"),
    (r"(^|\.)services\.ai\.azure\.com$|(^|\.)inference\.ai\.azure\.com$|models\.github\.ai$", "azure.ai.inference"),
    (r"(^|\.)openai\.com$", "openai"),
    (r"(^|\.)anthropic\.com$", "anthropic"),
    (r"bedrock[-a-z]*\.[-a-z0-9]+\.amazonaws\.com$|bedrock[-a-z]*\.[-a-z0-9]+\.api\.aws$", "aws.bedrock"),
    (r"aiplatform\.googleapis\.com$", "gcp.vertex_ai"),
    (r"generativelanguage\.googleapis\.com$", "gcp.gemini"),
    (r"(^|\.)cohere\.(ai|com)$", "cohere"),
    (r"(^|\.)mistral\.ai$", "mistral_ai"),
    (r"(^|\.)groq\.com$", "groq"),
    (r"(^|\.)deepseek\.com$", "deepseek"),
    (r"(^|\.)x\.ai$", "x_ai"),
    (r"(^|\.)openrouter\.ai$", "openrouter"),
    (r"(^|\.)together\.(xyz|ai)$", "together_ai"),
    (r"(^|\.)cerebras\.ai$", "cerebras"),
    (r"(^|\.)fireworks\.ai$", "fireworks_ai"),
    (r"(^|\.)perplexity\.ai$", "perplexity"),
    (r"(^|\.)moonshot\.(ai|cn)$", "moonshot_ai"),
    (r"(^|\.)huggingface\.co$", "huggingface"),
    (r"(^|\.)ollama\.com$", "ollama"),
    (r"(^|\.)voyageai\.com$", "voyage_ai"),
)

_PATHS: tuple[tuple[str, str, Operation], ...] = (
    (r"/chat/completions$", "openai", Operation.CHAT),
    (r"/embeddings$", "openai", Operation.EMBEDDING),
    (r"/images/(generations|edits)$", "openai", Operation.OTHER),
    (r"/completions$", "openai", Operation.COMPLETION),
    (r"/responses(/resp_[^/]+)?$", "openai_responses", Operation.CHAT),
    (r"/threads/([^/]+/)?runs(/run_[^/]+(/submit_tool_outputs)?)?$", "openai_assistants", Operation.CHAT),
    (r"^(?!.*/threads/).*/messages$", "anthropic", Operation.CHAT),
    (r":(stream)?[rR]awPredict$", "anthropic", Operation.CHAT),
    (r":(stream)?[gG]enerateContent$", "gemini", Operation.CHAT),
    (r"/interactions$", "gemini_interactions", Operation.CHAT),
    (r":(batchEmbedContents|embedContent|asyncBatchEmbedContent|predict)$", "gemini", Operation.EMBEDDING),
    (r"/converse(-stream)?$", "bedrock", Operation.CHAT),
    (r"/invoke(-with-response-stream)?$", "bedrock", Operation.CHAT),
    (r"/v[12]/(chat|generate)$", "cohere", Operation.CHAT),
    (r"/v[12]/embed$", "cohere", Operation.EMBEDDING),
    (r"/v[12]/rerank$", "cohere", Operation.RERANK),
    (r"/rerank$", "openai", Operation.RERANK),
    (r"/api/(chat|generate)$", "ollama", Operation.CHAT),
    (r"/api/(embed|embeddings)$", "ollama", Operation.EMBEDDING),
)

_MODELS = (
    re.compile(r"/deployments/([^/]+)/"),
    re.compile(r"/model/([^/]+)/(?:converse|invoke)"),
    re.compile(r"/models/([^/:]+):"),
)

Reader = Callable[[Mapping[str, Any]], BodyUsage]
StreamReader = Callable[[Iterable[Mapping[str, Any]]], BodyUsage]

READERS: dict[str, tuple[Reader, StreamReader]] = {
    "openai": (openai.read_body, openai.read_stream),
    "openai_responses": (openai_responses.read_body, openai_responses.read_stream),
    "openai_assistants": (openai_assistants.read_body, openai_assistants.read_stream),
    "anthropic": (anthropic.read_body, anthropic.read_stream),
    "gemini": (gemini.read_body, gemini.read_stream),
    "gemini_interactions": (gemini_interactions.read_body, gemini_interactions.read_stream),
    "bedrock": (bedrock.read_body, bedrock.read_stream),
    "cohere": (cohere.read_body, cohere.read_stream),
    "ollama": (ollama.read_body, ollama.read_stream),
}
"""Interface to what reads its answers: as a whole, and as a stream of events."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model call went: ``interface`` is a key of `READERS`; ``model`` is what the URL names, if it does.

    ``is_stream`` says that the URL asks for a stream; for others the request's body does.
    """

    provider: str
    interface: str
    operation: Operation
    model: str | None = None
    is_stream: bool = False


def endpoint_of(url: str) -> Endpoint | None:
    """Return the endpoint of a model call; None for any other URL, such as one for files or counting tokens."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    path = parts.path.rstrip("/")
    provider = next((name for pattern, name in _HOSTS if re.search(pattern, host)), None)
    is_cohere = provider in {"cohere", "azure.ai.inference"}
    known = ((kind, what) for pattern, kind, what in _PATHS if re.search(pattern, path))
    found = next(((kind, what) for kind, what in known if kind != "cohere" or is_cohere), None)
    if found is None:
        return None
    interface, operation = found
    model = next((unquote(named[1]) for pattern in _MODELS if (named := pattern.search(parts.path))), None)
    is_stream = "stream" in path.rpartition("/")[2].lower()
    return Endpoint(provider or host or "unknown", interface, operation, model, is_stream)
