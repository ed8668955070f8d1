from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.errors import ProfileError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Charge, Inference, Status, ToolCall
from inferometer.schema.rows import Placement, ToolCallRow

NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
HOUR_NS = 3_600 * 1_000_000_000


@pytest.fixture
def write(tmp_path: Path):
    def write_prices(text: str) -> PriceList:
        path = tmp_path / "prices.toml"
        path.write_text(text)
        return load_prices(path)

    return write_prices


def call(model: str = "claude-opus-4-5", provider: str | None = "anthropic", **values: Any) -> Inference:
    meters = values.pop("meters", Meters(input_fresh=1_000_000, cache_read=0, output=1_000_000))
    return Inference(bytes(16), bytes(8), provider, model, model, meters=meters, **values)


def test_a_model_of_ones_own_wins_over_the_published_list(write) -> None:
    prices = write("""
        name = "house list"
        as_of = 2026-11-01
        [[models]]
        model = "claude-opus-*"
        input_usd_per_mtok = 0.1
        output_usd_per_mtok = "0.20"
        cache_read_usd_per_mtok = 0.01
    """)
    priced = prices.price_call(call(meters=Meters(input_fresh=10**6, cache_read=10**6, output=10**6)), NOW)
    assert priced.list_cost_usd == Decimal("0.31")
    assert priced.card is not None
    assert (priced.card.list_name, priced.card.list_version) == ("house list", "2026-11-01")
    assert prices.price_call(call("claude-sonnet-4-5"), NOW).list_cost_usd == Decimal("28.5")
    assert prices.version.startswith("house list 2026-11-01, genai-prices ")


def test_numbers_are_read_as_they_are_written(write) -> None:
    prices = write("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 0.1234567890123456789\noutput_usd_per_mtok = 0\n")
    assert prices.price_call(call("m"), NOW).list_cost_usd == Decimal("0.1234567890123456789")


def test_an_own_price_holds_on_its_days_and_for_its_provider(write) -> None:
    prices = write("""
        [[models]]
        model = "m"
        provider = "vllm"
        until = 2026-11-19
        input_usd_per_mtok = 1
        output_usd_per_mtok = 1
        [[models]]
        model = "m"
        provider = "vllm"
        from = 2026-11-20
        input_usd_per_mtok = 2
        output_usd_per_mtok = 2
    """)
    assert prices.price_call(call("m", "vllm"), NOW).list_cost_usd == 4
    assert prices.price_call(call("m", "vllm"), NOW - 24 * HOUR_NS).list_cost_usd == 2
    assert prices.price_call(call("m", "sglang"), NOW).list_cost_usd is None
    assert prices.price_call(call("m", "vllm"), None).list_cost_usd is None


def test_own_tiers_hold_for_the_whole_request(write) -> None:
    prices = write("""
        [[models]]
        model = "m"
        input_usd_per_mtok = 1
        output_usd_per_mtok = 2
        [[models.tiers]]
        above_input_tokens = 1000
        input_usd_per_mtok = 10
        output_usd_per_mtok = 20
    """)
    below, above = (Meters(input_fresh=tokens, output=1000) for tokens in (1000, 2000))
    assert prices.price_call(call("m", meters=below), NOW).list_cost_usd == Decimal("0.003")
    assert prices.price_call(call("m", meters=above), NOW).list_cost_usd == Decimal("0.04")


def test_an_own_batch_discount_is_taken_off_and_a_missing_one_is_noted(write) -> None:
    text = "[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 3\n"
    priced = write(text).price_call(call("m", batch=True), NOW)
    assert (priced.list_cost_usd, len(priced.notes)) == (4, 1)
    assert write(text + "batch_discount = 0.25").price_call(call("m", batch=True), NOW).list_cost_usd == 3


def test_a_self_hosted_model_costs_its_share_of_the_hours(write) -> None:
    prices = write("""
        [[self_hosted]]
        model = "llama"
        hardware = "h100_sxm"
        accelerators = 4
        usd_per_accelerator_hour = 2.50
        input_tokens_per_s = 20000
        output_tokens_per_s = 2000
        utilisation = 0.5
    """)
    # a quarter of an hour of reading and one of writing at full speed: an hour of machines that are half busy
    hour = Meters(input_fresh=18_000_000, output=1_800_000)
    priced = prices.price_call(call("llama", "vllm", meters=hour), NOW)
    assert priced.list_cost_usd is not None
    assert abs(priced.list_cost_usd - 10) < Decimal("1e-20")
    assert "4 x h100_sxm" in priced.notes[0]


def test_a_self_hosted_model_takes_the_hour_from_the_hardware_profile(write) -> None:
    from inferometer.profiles.hardware import load_hardware

    text = "[[self_hosted]]\nmodel = 'l'\nhardware = 'h100_sxm'\naccelerators = 1\n"
    prices = write(text + "input_tokens_per_s = 1000\noutput_tokens_per_s = 1000\n")
    ranges = [load_hardware("h100_sxm").price_range(basis) for basis in ("reserved", "on_demand")]
    hourly = next(found for found in ranges if found is not None)[1]
    cost = prices.price_call(call("l", meters=Meters(input_fresh=3_600_000, output=0)), NOW).list_cost_usd
    assert cost is not None
    assert abs(cost - hourly) < Decimal("1e-15")


def test_list_and_contracted_cost_stand_side_by_side(write) -> None:
    prices = write("""
        [contract]
        discount = 0.10
        [[contract.rates]]
        provider = "anthropic"
        model = "claude-opus-*"
        discount = 0.2
        output_usd_per_mtok = 10
    """)
    opus = prices.price_call(call(), NOW)
    assert (opus.list_cost_usd, opus.contracted_cost_usd) == (30, Decimal("14"))
    assert opus.cost_by_meter_usd == {"input_fresh": 4, "output": 10}
    sonnet = prices.price_call(call("claude-sonnet-4-5"), NOW)
    assert (sonnet.list_cost_usd, sonnet.contracted_cost_usd) == (Decimal("28.5"), Decimal("25.65"))


def test_tools_cost_by_call_and_by_second(write) -> None:
    prices = write("""
        [tools."web_search"]
        usd_per_call = 0.01
        [tools.sandbox]
        usd_per_second = 0.0001
    """)
    placement = Placement(None, None, NOW, NOW + 60 * 10**9, Status.OK)
    tool = ToolCall(bytes(16), bytes(8), "sandbox", duration_ns=90 * 10**9)
    assert prices.price_tool(ToolCallRow(tool, placement)) == Decimal("0.009")
    assert prices.price_tool(ToolCallRow(ToolCall(bytes(16), bytes(8), "sandbox"), placement)) == Decimal("0.006")
    assert prices.price_tool(ToolCallRow(ToolCall(bytes(16), bytes(8), "read"), placement)) is None
    charge = Charge(bytes(16), bytes(8), "web_search", Decimal(3), "request")
    assert prices.price_charge(charge, placement, None) == Decimal("0.03")


def test_a_charge_in_a_unit_of_its_own_has_a_price_for_that_unit(write) -> None:
    prices = write('[tools."cache_storage"]\nusd_per_unit = 4.50\n')
    placement = Placement(None, None, NOW, NOW, Status.OK)
    stored = Charge(bytes(16), bytes(8), "cache_storage", Decimal("0.2"), "Mtok h")
    assert prices.price_charge(stored, placement, None) == Decimal("0.9")
    assert (
        prices.price_charge(Charge(bytes(16), bytes(8), "cache_storage", Decimal(1), "call"), placement, None) is None
    )
    tool = ToolCall(bytes(16), bytes(8), "cache_storage", duration_ns=5)
    assert prices.price_tool(ToolCallRow(tool, placement)) is None


def test_provisioned_hours_are_shared_by_the_calls_they_cover(write) -> None:
    prices = write("""
        [[provisioned]]
        name = "units"
        model = "claude-opus-4-5"
        units = 2
        usd_per_unit_hour = 5
        from = 2026-11-01
        until = 2026-11-30
    """)
    [covered] = {prices.price_call(call(), NOW).coverage}
    [other] = {prices.price_call(call("claude-sonnet-4-5"), NOW).coverage}
    window = (NOW - 6 * HOUR_NS, NOW + 4 * HOUR_NS)
    factors, [settled] = prices.settle({covered: Decimal(200), other: Decimal(50)}, window)
    # ten hours of two units at five dollars
    assert covered != other
    assert (settled.hours, settled.amount_usd, settled.used_usd) == (10, 100, 200)
    assert (factors[covered], factors[other]) == (Decimal("0.5"), 1)


def test_provisioned_hours_count_within_their_term_alone(write) -> None:
    prices = write("""
        [[provisioned]]
        name = "units"
        units = 1
        usd_per_unit_hour = 1
        from = 2026-11-20
        until = 2026-11-20
    """)
    _, [settled] = prices.settle({}, (NOW - 100 * HOUR_NS, NOW + 100 * HOUR_NS))
    assert (settled.hours, settled.unused_usd) == (24, 24)


def test_credits_pay_until_they_are_used_up(write) -> None:
    prices = write('[[credits]]\nname = "start-up"\namount_usd = 30\n')
    [coverage] = {prices.price_call(call(), NOW).coverage}
    factors, [settled] = prices.settle({coverage: Decimal(120)}, None)
    assert (factors[coverage], settled.used_usd, settled.unused_usd) == (Decimal("0.75"), 30, 0)
    factors, [settled] = prices.settle({coverage: Decimal(10)}, None)
    assert (factors[coverage], settled.used_usd, settled.unused_usd) == (0, 10, 20)


def test_a_commitment_that_is_not_used_is_shown(write) -> None:
    prices = write('[[commitments]]\nname = "year"\namount_usd = 1000\nfrom = 2026-01-01\nuntil = 2026-12-31\n')
    [coverage] = {prices.price_call(call(), NOW).coverage}
    factors, [settled] = prices.settle({coverage: Decimal(400)}, None)
    assert (factors[coverage], settled.used_usd, settled.unused_usd) == (1, 400, 600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = -1", "models\\[0\\].input_usd_per_mtok is -1"),
        ("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 'cheap'", "not a number"),
        ("[[models]]\nmodel = 'm'\ninput_usd_per_token = 1", "did you mean input_usd_per_mtok"),
        ("[[models]]\nmodel = 'm'", "has no price"),
        ("[[models]]\ninput_usd_per_mtok = 1", "lacks model"),
        ("[contract]\ndiscount = 15", "can be 0 to 1"),
        ("[[credits]]\nname = 'x'", "lacks amount_usd"),
        ("[[commitments]]\nname = 'x'\namount_usd = 1", "needs from and until"),
        ("[[models]]\nmodel = 'm'\nfrom = 2026-02-01\nuntil = 2026-01-01\ninput_usd_per_mtok = 1", "before it begins"),
        ("[tools.search]\n", "has no price"),
        ("[[self_hosted]]\nmodel = 'm'\nhardware = 'h100_sxm'\naccelerators = 1", "lacks input_tokens_per_s"),
        ("discount = 1", "is not a known key"),
        ("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 1e400", "can be 0 to 1,000,000,000,000"),
        ("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = nan", "can be 0 to"),
        ("[[models]", "is not TOML"),
    ],
)
def test_a_file_that_breaks_its_rules_says_where(write, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        write(text)
    assert "prices.toml" in str(caught.value)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        load_prices(tmp_path / "none.toml")


def test_the_file_is_found_by_its_variable_and_in_the_configuration_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config" / "inferometer"
    folder.mkdir(parents=True)
    (folder / "prices.toml").write_text("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 1\noutput_usd_per_mtok = 1\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert load_prices().price_call(call("m"), NOW).list_cost_usd == 2
    other = tmp_path / "other.toml"
    other.write_text("[[models]]\nmodel = 'm'\ninput_usd_per_mtok = 5\noutput_usd_per_mtok = 5\n")
    monkeypatch.setenv("INFEROMETER_PRICES", str(other))
    assert load_prices().price_call(call("m"), NOW).list_cost_usd == 10


def test_the_example_of_the_documentation_is_read_whole(write, repository: Path) -> None:
    text = (repository / "docs" / "prices.md").read_text()
    [example] = [part.partition("```")[0] for part in text.split("```toml\n")[1:]]
    prices = write(example)
    acme = prices.price_call(call("acme-large-2", "acme"), NOW)
    assert (acme.list_cost_usd, acme.contracted_cost_usd) == (Decimal("4.80"), Decimal("4.560"))
    long = prices.price_call(call("acme-large-2", "acme", meters=Meters(input_fresh=100_000, output=10**6)), NOW)
    assert long.list_cost_usd == Decimal("2.46")
    assert prices.price_call(call("llama-3.1-70b", "vllm"), NOW).list_cost_usd is not None
    assert prices.version.startswith("ACME prices 2026-11-01")
