"""Attribute names that Inferometer emits on spans and reads back, as one dated table.

The ``gen_ai.*`` names are those of open-telemetry/semantic-conventions-genai as of `TABLE_DATE`; what the convention
has no name for lives under ``inferometer.*``. Readers accept every older spelling (``ingest/dialects``); emitters write
these alone.
"""

from __future__ import annotations

TABLE_DATE = "2026-11-23"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
SCOPE = "inferometer"

# The convention: what kind of span, whose model, which answer.
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_CHOICES = "gen_ai.request.choice.count"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_TOP_K = "gen_ai.request.top_k"
REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level"
REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id"
REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"
EMBEDDING_DIMENSIONS = "gen_ai.embeddings.dimension.count"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TTFC_S = "gen_ai.response.time_to_first_chunk"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"
USER_ID = "user.id"  # plain; only where the program asked for it
USER_HASH = "user.hash"  # the pseudonym of `HashKey.pseudonym`; readers trust it of our own scope alone

# The convention: tokens. Input and output are inclusive, every other one is a part of them.
USAGE_INPUT = "gen_ai.usage.input_tokens"
USAGE_OUTPUT = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens"
USAGE_TEXT_INPUT = "gen_ai.usage.text.input_tokens"
USAGE_AUDIO_INPUT = "gen_ai.usage.audio.input_tokens"
USAGE_IMAGE_INPUT = "gen_ai.usage.image.input_tokens"
USAGE_AUDIO_CACHE_READ = "gen_ai.usage.audio.cache_read.input_tokens"
USAGE_TEXT_OUTPUT = "gen_ai.usage.text.output_tokens"
USAGE_AUDIO_OUTPUT = "gen_ai.usage.audio.output_tokens"
USAGE_IMAGE_OUTPUT = "gen_ai.usage.image.output_tokens"

# The convention: agents, workflows and tools.
AGENT_NAME = "gen_ai.agent.name"
AGENT_VERSION = "gen_ai.agent.version"
WORKFLOW_NAME = "gen_ai.workflow.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
MCP_METHOD = "mcp.method.name"

# The convention: content, written only where capture is "content".
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_DEFINITIONS = "gen_ai.tool.definitions"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"

# Providers' own.
OPENAI_REQUEST_TIER = "openai.request.service_tier"
OPENAI_RESPONSE_TIER = "openai.response.service_tier"
OPENAI_FINGERPRINT = "openai.response.system_fingerprint"
OPENAI_API = "openai.api.type"

# Ours: what the convention has no name for.
KIND = "inferometer.kind"  # str: a SpanKind, where the operation name does not say it, as for a step
USAGE_SOURCE = "inferometer.usage.source"  # str: a UsageSource
USAGE_RAW = "inferometer.usage.raw"  # str: the provider's usage object as JSON; it holds no content
USAGE_CACHE_WRITE_5M = "inferometer.usage.cache_write_5m.input_tokens"  # int, part of cache_write
USAGE_CACHE_WRITE_1H = "inferometer.usage.cache_write_1h.input_tokens"  # int, part of cache_write
SERVICE_TIER = "inferometer.service_tier"  # str: as the response names it, else the request
BATCH = "inferometer.batch"  # bool: sent through a batch interface
FROM_CACHE = "inferometer.from_cache"  # bool: answered out of a cache of the program; no call was made
ABORTED = "inferometer.aborted"  # bool: the caller closed the stream before its end
CHARGE_SKUS = "inferometer.charge.skus"  # str[]: what the provider bills beside tokens, such as web_search
CHARGE_QUANTITIES = "inferometer.charge.quantities"  # int[], beside the skus
CHARGE_UNITS = "inferometer.charge.units"  # str[], beside the skus
RECORDED_COST_USD = "inferometer.recorded_cost_usd"  # str: decimal, as the emitter said
ATTEMPT_STATUSES = "inferometer.attempt.statuses"  # int[]: HTTP status of each attempt, 0 where none answered
ATTEMPT_STARTS_NS = "inferometer.attempt.starts_ns"  # int[]: nanoseconds since 1970
ATTEMPT_ENDS_NS = "inferometer.attempt.ends_ns"  # int[]
TTFT_NS = "inferometer.ttft_ns"  # int: from the start of the call to its first chunk with content
INTER_TOKEN_P50_NS = "inferometer.inter_token.p50_ns"  # int: between chunks
INTER_TOKEN_P95_NS = "inferometer.inter_token.p95_ns"  # int
CHUNKS = "inferometer.chunks"  # int: chunks with content
ARGUMENT_FINGERPRINT = "inferometer.tool.argument_fingerprint"  # str: keyed hash of the canonical arguments
RESULT_TOKENS = "inferometer.tool.result_tokens"  # int
KEY_ID = "inferometer.key_id"  # str: which key the fingerprints and hashes were made with
COMPOSITION_SYSTEM = "inferometer.composition.system_tokens"  # int
COMPOSITION_TOOLS = "inferometer.composition.tools_tokens"  # int
COMPOSITION_HISTORY = "inferometer.composition.history_tokens"  # int
COMPOSITION_TOOL_RESULTS = "inferometer.composition.tool_results_tokens"  # int
COMPOSITION_USER = "inferometer.composition.user_tokens"  # int
TOOLS_OFFERED = "inferometer.tools_offered.names"  # str[]
TOOLS_OFFERED_TOKENS = "inferometer.tools_offered.tokens"  # int[], beside the names
PREFIX_BASE = "inferometer.prefix.base"  # str: trace and span id, 48 hex digits, whose chain goes on here; or absent
PREFIX_SHARED = "inferometer.prefix.shared_blocks"  # int: blocks taken over from the base's chain
PREFIX_HASHES = "inferometer.prefix.hashes"  # str: hex of the 8-byte little-endian hashes after the shared ones
PREFIX_BLOCK_TOKENS = "inferometer.prefix.block_tokens"  # int
PREFIX_VOCABULARY = "inferometer.prefix.vocabulary"  # str
PURPOSE = "inferometer.purpose"  # str: a Purpose
TAG = "inferometer.tag."  # + name: str
SAMPLING_WEIGHT = "inferometer.sampling.weight"  # float: inverse probability of our own sampler
INFERENCE_CALLS = "inferometer.agent.inference_calls"  # int: model calls directly under an agent or workflow
TOOL_CALLS = "inferometer.agent.tool_calls"  # int: tool calls directly under it
BUDGET_EXCEEDED = "inferometer.budget.exceeded"  # str: the limit that stopped the run
ATTRIBUTES_CUT = "inferometer.attributes_cut"  # int: values shortened by a size cap

# Ours: input and output of agents, steps and workflows, written only where capture is "content".
INPUT = "inferometer.input"  # str: JSON
OUTPUT = "inferometer.output"  # str: JSON

# Events.
EVALUATION_EVENT = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_VALUE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"

CONTENT = frozenset(
    {SYSTEM_INSTRUCTIONS, INPUT_MESSAGES, OUTPUT_MESSAGES, TOOL_DEFINITIONS, TOOL_ARGUMENTS, TOOL_RESULT, INPUT, OUTPUT}
)
"""Attributes that hold what people and models said."""

EMITTED = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str) and "." in value
) - {SCHEMA_URL}
"""Every name of this table; a test holds emitters to it."""
