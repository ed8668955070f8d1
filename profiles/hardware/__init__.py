"""Accelerators: memory, arithmetic, links, power and what an hour of one costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from inferometer.profiles.documents import Document, Provenance, Shelf, Table, parse
from inferometer.schema.errors import ProfileError

KINDS = ("gpu", "asic", "sram", "dataflow", "cpu")
PRECISIONS = ("fp32", "bf16", "fp8", "int8", "fp4")
BASES = ("on_demand", "reserved", "spot", "owned", "rental_3_years", "deployment")
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that weights and KV cache live in."""

    capacity_bytes: float
    bandwidth_bytes_per_s: float
    type: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Compute:
    """Dense arithmetic rates (never the doubled 'sparse' ones), in operations per second; None: the chip lacks it."""

    rates: dict[str, float]
    provenance: Provenance

    def rate(self, precision: str) -> float | None:
        """Return operations per second at `precision`, or None where the chip cannot do it at speed."""
        return self.rates.get(precision)


@dataclass(frozen=True, slots=True)
class Link:
    """The fast fabric between chips of one domain; bandwidth one way, per chip."""

    bandwidth_bytes_per_s: float
    domain_chips: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Power:
    """Board power, and the share of the whole facility that a chip accounts for."""

    board_w: float
    all_in_w: float | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Price:
    """What one chip costs an hour, as one provider and day had it."""

    provider: str
    basis: str
    usd_per_hour_low: Decimal
    usd_per_hour_high: Decimal
    minimum_chips: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Purchase:
    """What one chip costs to buy."""

    usd_low: Decimal
    usd_high: Decimal
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Deployment:
    """The smallest unit in which a machine is bought or rented, for those that no one rents by the chip."""

    chips: int
    pipeline_stages: int
    usd_low: Decimal | None
    usd_high: Decimal | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Measured:
    """What one machine's kernels reached, by ``inferometer calibrate``; None where it was not measured."""

    copy_bytes_per_s: float
    gemm_rates: dict[str, float]
    decode_attention_bytes_per_s: float | None
    prefill_attention_flop_per_s: float | None
    all_reduce_seconds: float | None
    all_reduce_bytes_per_s: float | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Hardware:
    """One accelerator; None where a part is unknown. The file's name is its id."""

    id: str
    name: str
    vendor: str
    kind: str
    aliases: tuple[str, ...]
    release: str
    memory: Memory
    compute: Compute
    link: Link | None
    power: Power | None
    prices: tuple[Price, ...]
    purchase: Purchase | None
    deployment: Deployment | None
    measured: Measured | None
    notes: tuple[str, ...]
    path: str

    def price_range(self, basis: str = "on_demand") -> tuple[Decimal, Decimal, Decimal] | None:
        """Return (low, median, high) USD per chip-hour over all prices of a basis, or None where none is known.

        The median is over each price's own middle. The lowest and highest are what the market really showed.
        """
        of_basis = [price for price in self.prices if price.basis == basis]
        if not of_basis:
            return None
        middles = sorted((price.usd_per_hour_low + price.usd_per_hour_high) / 2 for price in of_basis)
        half = len(middles) // 2
        median = middles[half] if len(middles) % 2 else (middles[half - 1] + middles[half]) / 2
        return (
            min(price.usd_per_hour_low for price in of_basis),
            median,
            max(price.usd_per_hour_high for price in of_basis),
        )

    def prices_as_of(self, basis: str = "on_demand") -> date | None:
        """Return the day of the newest price of a basis, or None."""
        return max((price.provenance.as_of for price in self.prices if price.basis == basis), default=None)


def read_hardware(document: Document) -> Hardware:
    """Read one accelerator from its file.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    hardware = Hardware(
        id=document.stem,
        name=table.text("name"),
        vendor=table.text("vendor"),
        kind=table.text("kind", among=KINDS),
        aliases=table.texts("aliases"),
        release=table.text("release"),
        memory=_memory(table.table("memory")),
        compute=_compute(table.table("compute")),
        link=_link(table.optional_table("link")),
        power=_power(table.optional_table("power")),
        prices=tuple(_price(price) for price in table.tables("price")),
        purchase=_purchase(table.optional_table("purchase")),
        deployment=_deployment(table.optional_table("deployment")),
        measured=_measured(table.optional_table("measured")),
        notes=table.texts("notes"),
        path=document.path,
    )
    table.finish()
    return hardware


def _memory(table: Table) -> Memory:
    memory = Memory(
        capacity_bytes=table.number("capacity_gib", minimum=0.01) * GIB,
        bandwidth_bytes_per_s=table.number("bandwidth_gb_per_s", minimum=1) * 1e9,
        type=table.text("type"),
        provenance=table.provenance(),
    )
    table.finish()
    return memory


def _rates(table: Table, kind: str) -> dict[str, float]:
    rates = {}
    for precision in PRECISIONS:
        unit = "top_per_s" if precision == "int8" else "tflop_per_s"
        rate = table.optional_number(f"{precision}_{kind}_{unit}", minimum=1e-6)
        if rate is not None:
            rates[precision] = rate * 1e12
    return rates


def _measured(table: Table | None) -> Measured | None:
    if table is None:
        return None

    def scaled(key: str, unit: float) -> float | None:
        value = table.optional_number(key, minimum=1e-9)
        return None if value is None else value * unit

    measured = Measured(
        copy_bytes_per_s=table.number("copy_gb_per_s", minimum=1e-3) * 1e9,
        gemm_rates=_rates(table, "gemm"),
        decode_attention_bytes_per_s=scaled("decode_attention_gb_per_s", 1e9),
        prefill_attention_flop_per_s=scaled("prefill_attention_tflop_per_s", 1e12),
        all_reduce_seconds=scaled("all_reduce_us", 1e-6),
        all_reduce_bytes_per_s=scaled("all_reduce_gb_per_s", 1e9),
        provenance=table.provenance(),
    )
    table.finish()
    return measured


def _compute(table: Table) -> Compute:
    rates = _rates(table, "dense")
    if not rates:
        raise ProfileError(table.path, "compute names no rate: write bf16_dense_tflop_per_s or another precision's")
    compute = Compute(rates, table.provenance())
    table.finish()
    return compute


def _link(table: Table | None) -> Link | None:
    if table is None:
        return None
    link = Link(
        bandwidth_bytes_per_s=table.number("one_way_bandwidth_gb_per_s", minimum=0.1) * 1e9,
        domain_chips=table.integer("domain_chips", minimum=1),
        provenance=table.provenance(),
    )
    table.finish()
    return link


def _power(table: Table | None) -> Power | None:
    if table is None:
        return None
    power = Power(table.number("board_w", minimum=1), table.optional_number("all_in_w", minimum=1), table.provenance())
    table.finish()
    return power


def _usd(table: Table, key: str) -> Decimal:
    return Decimal(str(table.number(key)))


def _price(table: Table) -> Price:
    price = Price(
        provider=table.text("provider"),
        basis=table.text("basis", among=BASES),
        usd_per_hour_low=_usd(table, "usd_per_hour_low"),
        usd_per_hour_high=_usd(table, "usd_per_hour_high"),
        minimum_chips=table.integer("minimum_chips", 1, minimum=1),
        provenance=table.provenance(),
    )
    table.finish()
    if price.usd_per_hour_low > price.usd_per_hour_high:
        raise ProfileError(table.path, f"{table.name}: usd_per_hour_low is above usd_per_hour_high")
    return price


def _purchase(table: Table | None) -> Purchase | None:
    if table is None:
        return None
    purchase = Purchase(_usd(table, "usd_low"), _usd(table, "usd_high"), table.provenance())
    table.finish()
    return purchase


def _deployment(table: Table | None) -> Deployment | None:
    if table is None:
        return None
    low, high = table.optional_number("usd_low"), table.optional_number("usd_high")
    deployment = Deployment(
        chips=table.integer("chips", minimum=1),
        pipeline_stages=table.integer("pipeline_stages", 1, minimum=1),
        usd_low=None if low is None else Decimal(str(low)),
        usd_high=None if high is None else Decimal(str(high)),
        provenance=table.provenance(),
    )
    table.finish()
    return deployment


HARDWARE = Shelf("hardware", "hardware profile", read_hardware)
load_hardware, list_hardware = HARDWARE.load, HARDWARE.all
