from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferometer.schema.records import Inference, PrefixChain, RecordBatch, Span
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.store.segments import shared_blocks


def chain_of(blocks: list[int], key_id: str = "key") -> PrefixChain:
    """Return a chain whose hashes cover all before them, as real ones do."""
    hashes, state = [], 0
    for block in blocks:
        state = hash((state, block)) & 0xFFFFFFFFFFFFFFFF
        hashes.append(state.to_bytes(8, "little"))
    return PrefixChain(b"".join(hashes), 64, "o200k_base", key_id)


chains = st.lists(
    st.tuples(st.lists(st.integers(0, 2), max_size=12), st.sampled_from(["key", "other"])), min_size=1, max_size=12
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with open_store(str(tmp_path_factory.mktemp("segments") / "store.sqlite")) as opened:
        yield opened


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chains, st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_chain_comes_back_whatever_the_order_of_arrival(store: Store, given_chains, step, random) -> None:
    example = uuid4().hex
    trace_id = bytes.fromhex(example)
    wanted = {
        number.to_bytes(8, "big"): chain_of(blocks, key_id + example)
        for number, (blocks, key_id) in enumerate(given_chains)
    }
    order = list(wanted)
    random.shuffle(order)
    for begin in range(0, len(order), step):
        ids = order[begin : begin + step]
        with store.transaction() as tx:
            tx.write(
                RecordBatch(
                    spans=[Span(trace_id, span_id, "x", source=example) for span_id in ids],
                    inferences=[Inference(trace_id, span_id, prefix=wanted[span_id]) for span_id in ids],
                )
            )
    rows = store.inferences(Selection(where=(("source", example),)), with_prefix=True)
    found = {row.inference.span_id: row.inference.prefix for row in rows}
    assert found == {key: chain if chain.hashes else None for key, chain in wanted.items()}


def test_a_conversation_stores_each_block_once(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as store:
        for turn in range(1, 30):
            span_id = turn.to_bytes(8, "big")
            chain = chain_of(list(range(turn * 10)))
            with store.transaction() as tx:
                tx.write(
                    RecordBatch(
                        spans=[Span(bytes(16), span_id, "x")],
                        inferences=[Inference(bytes(16), span_id, prefix=chain)],
                    )
                )
        with store.reading() as connection:
            stored = connection.exec_driver_sql("SELECT sum(length(hashes)) / 8 FROM prefix_segments").scalar()
    assert stored == 290


def test_a_call_keeps_its_whole_chain_where_what_came_before_it_is_not_selected(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as store:
        for turn in range(1, 6):
            span_id, at_ns = turn.to_bytes(8, "big"), turn * 1_000
            with store.transaction() as tx:
                tx.write(
                    RecordBatch(
                        spans=[Span(bytes(16), span_id, "x", start_ns=at_ns, end_ns=at_ns)],
                        inferences=[
                            Inference(
                                bytes(16),
                                span_id,
                                request_model=f"model-{turn}",
                                prefix=chain_of(list(range(turn * 10))),
                            )
                        ],
                    )
                )
        for selection in (Selection(since_ns=5_000), Selection(where=(("model", "model-5"),))):
            [row] = store.inferences(selection, with_prefix=True)
            assert row.inference.prefix == chain_of(list(range(50)))


@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=64))
def test_shared_blocks_are_found_by_bisection(head: bytes, one: bytes, other: bytes) -> None:
    first, second = chain_of(list(head + one)).hashes, chain_of(list(head + other)).hashes
    slow = 0
    while slow * 8 < min(len(first), len(second)) and first[: slow * 8 + 8] == second[: slow * 8 + 8]:
        slow += 1
    assert shared_blocks(first, second) == slow
