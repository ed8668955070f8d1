"""Models: what decides memory, arithmetic and KV cache, from their published configurations."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.profiles.documents import Document, Provenance, Shelf, Table, parse
from inferometer.schema.errors import ProfileError

ATTENTIONS = ("mha", "gqa", "mla", "linear_hybrid", "compressed_sparse")
PRECISIONS = ("fp32", "bf16", "fp8", "int8", "int4", "fp4")


@dataclass(frozen=True, slots=True)
class Attention:
    """How a model looks back.

    Of the model's layers, ``full_layers`` see every cached token (at most ``top_k_tokens`` of them where that is set,
    chosen by an indexer that reads them all), ``window_layers`` see the last ``window_tokens``, and ``linear_layers``
    keep a constant state. KV elements are those one token adds, over all layers of that kind and all heads.
    """

    kind: str
    heads: int
    kv_heads: int
    head_dim: int
    full_layers: int
    window_layers: int
    linear_layers: int
    window_tokens: int
    top_k_tokens: int
    full_kv_elements_per_token: float
    window_kv_elements_per_token: float
    indexer_elements_per_token: float
    state_elements_per_sequence: float
    latent_dim: int
    rope_dim: int

    @property
    def kv_elements_per_token(self) -> float:
        """KV elements that one token adds while it is within every window."""
        return self.full_kv_elements_per_token + self.window_kv_elements_per_token + self.indexer_elements_per_token


@dataclass(frozen=True, slots=True)
class Experts:
    """The routed experts of a mixture; shared experts count among the weights that every token meets."""

    total: int
    active: int
    layers: int
    intermediate: int
    hidden: int

    @property
    def parameters(self) -> float:
        """All routed experts' parameters (three matrices each)."""
        return 3.0 * self.hidden * self.intermediate * self.total * self.layers

    @property
    def parameters_per_token(self) -> float:
        """Parameters of the experts that one token meets."""
        return self.parameters * self.active / self.total


@dataclass(frozen=True, slots=True)
class Model:
    """One model. ``common_parameters`` are those that every token meets, the embedding table left out.

    ``acceptance_lengths[k - 1]`` is the mean number of tokens that a step yields with k drafted by the model's own MTP
    or EAGLE head, as published; empty where nothing was.
    """

    id: str
    aliases: tuple[str, ...]
    release: str
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    context_tokens: int
    parameters: float
    active_parameters: float
    common_parameters: float
    attention: Attention
    experts: Experts | None
    acceptance_lengths: tuple[float, ...]
    native_precision: str
    provenance: Provenance
    notes: tuple[str, ...]
    path: str

    @property
    def family(self) -> str:
        """``dense``, ``moe``, or ``mla`` (a mixture with latent attention): what a fit's error is told by."""
        if self.attention.kind in ("mla", "compressed_sparse"):
            return "mla"
        return "moe" if self.experts else "dense"


def read_model(document: Document) -> Model:
    """Read one model from its file.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit, or layers do not add up.
    """
    table = parse(document)
    layers = table.integer("layers", minimum=1)
    model = Model(
        id=table.text("id"),
        aliases=table.texts("aliases"),
        release=table.text("release"),
        layers=layers,
        hidden=table.integer("hidden", minimum=1),
        intermediate=table.integer("intermediate", 0),
        vocabulary=table.integer("vocabulary_tokens", minimum=1),
        context_tokens=table.integer("context_tokens", minimum=1),
        parameters=table.number("parameters_b", minimum=0.001) * 1e9,
        active_parameters=table.number("active_parameters_b", minimum=0.001) * 1e9,
        common_parameters=table.number("common_parameters_b", minimum=0.0001) * 1e9,
        attention=_attention(table.table("attention"), layers),
        experts=_experts(table.optional_table("experts"), table.integer("hidden")),
        acceptance_lengths=_acceptance_lengths(table.optional_table("speculation")),
        native_precision=table.text("native_precision", among=PRECISIONS),
        provenance=table.provenance(),
        notes=table.texts("notes"),
        path=document.path,
    )
    table.finish()
    return model


def _attention(table: Table, layers: int) -> Attention:
    attention = Attention(
        kind=table.text("kind", among=ATTENTIONS),
        heads=table.integer("heads", minimum=1),
        kv_heads=table.integer("kv_heads", minimum=1),
        head_dim=table.integer("head_dim", minimum=1),
        full_layers=table.integer("full_layers"),
        window_layers=table.integer("window_layers", 0),
        linear_layers=table.integer("linear_layers", 0),
        window_tokens=table.integer("window_tokens", 0),
        top_k_tokens=table.integer("top_k_tokens", 0),
        full_kv_elements_per_token=table.number("full_kv_elements_per_token"),
        window_kv_elements_per_token=table.optional_number("window_kv_elements_per_token") or 0.0,
        indexer_elements_per_token=table.optional_number("indexer_elements_per_token") or 0.0,
        state_elements_per_sequence=table.optional_number("state_elements_per_sequence") or 0.0,
        latent_dim=table.integer("latent_dim", 0),
        rope_dim=table.integer("rope_dim", 0),
    )
    table.finish()
    if attention.full_layers + attention.window_layers + attention.linear_layers != layers:
        raise ProfileError(table.path, f"attention: full, window and linear layers do not add up to layers = {layers}")
    if attention.window_layers and not attention.window_tokens:
        raise ProfileError(table.path, "attention has window_layers, but no window_tokens")
    return attention


def _acceptance_lengths(table: Table | None) -> tuple[float, ...]:
    if table is None:
        return ()
    lengths = table.list_of_numbers("acceptance_lengths", minimum=1.0)
    table.provenance()
    table.finish()
    for tokens, length in enumerate(lengths, start=1):
        if length > tokens + 1:
            raise ProfileError(table.path, f"speculation: {tokens} drafts cannot yield {length} tokens a step")
    return lengths


def _experts(table: Table | None, hidden: int) -> Experts | None:
    if table is None:
        return None
    experts = Experts(
        total=table.integer("total", minimum=1),
        active=table.integer("active", minimum=1),
        layers=table.integer("layers", minimum=1),
        intermediate=table.integer("intermediate", minimum=1),
        hidden=table.integer("hidden", hidden, minimum=1),
    )
    table.finish()
    if experts.active > experts.total:
        raise ProfileError(table.path, "experts: more are active than there are")
    return experts


MODELS = Shelf("models", "model profile", read_model)
load_model, list_models = MODELS.load, MODELS.all
