"""The engine's core again in plain Python, a token and a block at a time: slow, and what the C engine must equal.

It covers one replica with all of its scheduling (mixed and prefill-first steps, chunks, reserves, preemption, prefix
cache, priorities, speculative decoding) behind closed-loop sessions. Nothing here is aggregated: sequences hold their
own counts, the cache is a list of blocks in order of last use.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from inferometer.analyzer.replay_engine import OVER_CONTEXT, OVER_MEMORY, PROGRESS_PARTS, SERVED, Rules
from inferometer.analyzer.stepterms import StepLoad
from inferometer.analyzer.workload import Workload

Block = tuple[int, int]


@dataclass(slots=True)
class CallRecord:
    """What became of one call; times in seconds."""

    ready_s: float = 0.0
    admitted_s: float = 0.0
    first_s: float = 0.0
    end_s: float = 0.0
    busy_s: float = 0.0
    hit_tokens: int = 0
    reused_tokens: int = 0
    produced_tokens: int = 0
    preemptions: int = 0
    status: int = 0


@dataclass(slots=True)
class _Sequence:
    call: int
    key: tuple[int, int]
    chain: list[Block]
    target: int
    computed: int
    hit_blocks: int
    private: int
    promised: int
    generated: int = 0
    steps: int = 0
    decoding: bool = False


@dataclass(slots=True)
class _Cache:
    """Blocks by number: those in use with their users, idle ones in order of last use."""

    block_tokens: int
    users: dict[Block, int] = field(default_factory=dict)
    idle: OrderedDict[Block, None] = field(default_factory=OrderedDict)

    @property
    def active_tokens(self) -> int:
        return len(self.users) * self.block_tokens

    @property
    def resident_tokens(self) -> int:
        return (len(self.users) + len(self.idle)) * self.block_tokens

    def match(self, chain: list[Block]) -> int:
        for count, block in enumerate(chain):
            if block not in self.users and block not in self.idle:
                return count
        return len(chain)

    def acquire(self, chain: list[Block]) -> None:
        for block in chain:
            self.idle.pop(block, None)
            self.users[block] = self.users.get(block, 0) + 1

    def release(self, chain: list[Block], computed_blocks: int) -> None:
        for place in range(len(chain) - 1, -1, -1):
            block = chain[place]
            self.users[block] -= 1
            if self.users[block] == 0:
                del self.users[block]
                if place < computed_blocks:
                    self.idle[block] = None

    def keep(self, chain: list[Block], filled: int) -> None:
        """Keep the filled blocks of a chain, last used now with what is kept of the last one's segment."""
        end = filled
        while end < len(chain) and chain[end][0] == chain[filled - 1][0] and self.match(chain[: end + 1]) > end:
            end += 1
        self.acquire(chain[:end])
        self.release(chain[:end], end)

    def evict_to(self, capacity_tokens: int) -> None:
        while self.idle and self.resident_tokens > capacity_tokens:
            self.idle.popitem(last=False)


@dataclass(slots=True)
class Reference:
    """One replica and its workload; `run` returns a record per call."""

    workload: Workload
    rules: Rules
    step_seconds: Callable[[StepLoad], float]
    concurrency: int = 0
    use_priorities: bool = False
    now_s: float = 0.0
    steps: int = 0
    peak_tokens: int = 0
    records: list[CallRecord] = field(default_factory=list)
    _cache: _Cache = field(init=False)
    _chains: list[list[Block]] = field(init=False)
    _running: list[_Sequence] = field(default_factory=list)
    _prefills: list[_Sequence] = field(default_factory=list)
    _waiting: list[tuple[tuple[int, int], int]] = field(default_factory=list)
    _events: list[tuple[float, int]] = field(default_factory=list)
    _waits: list[int] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)
    _queued: list[int] = field(default_factory=list)
    _prompted: set[Block] = field(default_factory=set)
    _ranks: int = 0
    _keys: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._cache = _Cache(self.workload.prefixes.block_tokens)
        self._chains = [self._chain(int(leaf)) for leaf in self.workload.prefixes.leaf]

    def run(self) -> list[CallRecord]:
        """Serve every call and return what became of each."""
        self._start()
        while self._events or self._waiting or self._running:
            self._take_arrivals()
            if not self._step() and self._events:
                self.now_s = self._events[0][0]
        return self.records

    def _take_arrivals(self) -> None:
        while self._events and self._events[0][0] <= self.now_s:
            self._arrive(heapq.heappop(self._events)[1])

    def _chain(self, leaf: int) -> list[Block]:
        forest = self.workload.prefixes
        parts: list[list[Block]] = []
        while leaf >= 0:
            parts.append([(leaf, place) for place in range(int(forest.blocks[leaf]))])
            leaf = int(forest.parent[leaf])
        return [block for part in reversed(parts) for block in part]

    def _start(self) -> None:
        workload = self.workload
        self.records = [CallRecord() for _ in range(workload.calls)]
        self._waits = [0] * workload.calls
        for target in workload.edges.to:
            self._waits[target] += 1
        first = workload.session_first
        self._open = [int(first[s + 1] - first[s]) for s in range(workload.sessions)]
        for session, start_s in enumerate(workload.session_start_s):
            if math.isnan(start_s):
                self._queued.append(session)
            else:
                self._start_session(session, float(start_s))
        for _ in range(self.concurrency):
            self._start_next(0.0)

    def _start_next(self, now_s: float) -> None:
        if self._queued:
            self._start_session(self._queued.pop(0), now_s)

    def _start_session(self, session: int, now_s: float) -> None:
        first = self.workload.session_first
        for call in range(int(first[session]), int(first[session + 1])):
            self.records[call].ready_s = now_s + float(self.workload.release_s[call])
            if self._waits[call] == 0:
                heapq.heappush(self._events, (self.records[call].ready_s, call))

    def _arrive(self, call: int) -> None:
        inputs, outputs = int(self.workload.input_tokens[call]), int(self.workload.output_tokens[call])
        rules = self.rules
        prompt = max(inputs, len(self._chains[call]) * self._cache.block_tokens)
        now_s = self.records[call].ready_s
        if inputs > rules.window_tokens:
            self._end(call, OVER_CONTEXT, now_s)
        elif prompt + outputs + rules.slack_tokens + self._overshoot() > rules.kv_tokens:
            self._end(call, OVER_MEMORY, now_s)
        else:
            priority = int(self.workload.priority[call]) if self.use_priorities else 0
            self._keys[call] = (priority, self._ranks)
            self._ranks += 1
            heapq.heappush(self._waiting, (self._keys[call], call))

    def _overshoot(self) -> int:
        return int(self.rules.progress) // PROGRESS_PARTS + 2

    def _end(self, call: int, status: int, end_s: float) -> None:
        record, edges = self.records[call], self.workload.edges
        record.status, record.end_s = status, end_s
        for edge in range(int(edges.first[call]), int(edges.first[call + 1])):
            target = int(edges.to[edge])
            self.records[target].ready_s = max(self.records[target].ready_s, end_s + float(edges.gap_s[edge]))
            self._waits[target] -= 1
            if self._waits[target] == 0:
                heapq.heappush(self._events, (self.records[target].ready_s, target))
        session = next(s for s in range(self.workload.sessions) if call < self.workload.session_first[s + 1])
        self._open[session] -= 1
        if self._open[session] == 0 and math.isnan(self.workload.session_start_s[session]):
            self._start_next(end_s)

    def _grown(self, extra_steps: int) -> int:
        parts = sum(s.steps + extra_steps for s in self._running if s.decoding) * int(self.rules.progress)
        return -(-parts // PROGRESS_PARTS)

    def _private(self) -> int:
        return sum(s.private for s in self._running) + self._grown(1)

    def _keep_output(self, call: int) -> None:
        """Keep the blocks of the next prompt that this call's output filled."""
        inputs, outputs = int(self.workload.input_tokens[call]), int(self.workload.output_tokens[call])
        chain, edges = self._chains[call], self.workload.edges
        filled = (inputs + outputs - 1) // self._cache.block_tokens
        for edge in range(int(edges.first[call]), int(edges.first[call + 1])):
            target = int(edges.to[edge])
            longer = self._chains[target]
            goes_on = len(longer) > len(chain) and longer[: len(chain)] == chain
            if (
                goes_on
                and outputs > 1
                and filled > len(chain) > 0
                and self.workload.input_tokens[target] >= inputs + outputs
            ):
                self._cache.keep(longer, min(filled, len(longer)))
                return

    def _retire(self, sequence: _Sequence, finished: bool = False) -> None:
        self._running.remove(sequence)
        if sequence in self._prefills:
            self._prefills.remove(sequence)
        done = sequence.computed >= sequence.target
        computed = max(sequence.computed // self._cache.block_tokens, sequence.hit_blocks)
        if finished:
            self._keep_output(sequence.call)
        self._cache.release(sequence.chain, len(sequence.chain) if done else computed)

    def _preempt(self) -> None:
        victim = max(self._running, key=lambda s: s.key)
        record = self.records[victim.call]
        if victim.decoding:
            done = victim.steps * int(self.rules.progress) // PROGRESS_PARTS
            record.produced_tokens += min(done, victim.promised - 1)
        record.preemptions += 1
        self._retire(victim)
        heapq.heappush(self._waiting, (victim.key, victim.call))

    def _admit(self) -> bool:
        if not self._waiting or len(self._running) >= self.rules.max_sequences:
            return False
        key, call = self._waiting[0]
        record, chain, size = self.records[call], self._chains[call], self._cache.block_tokens
        target = max(1, int(self.workload.input_tokens[call]) + record.produced_tokens)
        private = max(0, target - len(chain) * size) + int(self.rules.slack_tokens)
        promised = max(0, int(self.workload.output_tokens[call]) - record.produced_tokens)
        fresh = sum(block not in self._cache.users for block in chain)
        wanted = self._cache.active_tokens + fresh * size + self._private() + private
        still = sum(s.promised for s in self._running) - self._grown(1) + promised
        if wanted + max(0, math.ceil(self.rules.reserve_share * still)) > self.rules.kv_tokens:
            return False
        heapq.heappop(self._waiting)
        matched = self._cache.match(chain)
        hit = matched * size
        if hit >= target:
            hit = (target - 1) // size * size
        sequence = _Sequence(call, key, chain, target, hit, matched, private, promised)
        self._cache.acquire(chain)
        self._running.append(sequence)
        self._prefills.append(sequence)
        self._cache.evict_to(int(self.rules.kv_tokens) - self._private())
        before = next((place for place, block in enumerate(chain) if block not in self._prompted), len(chain))
        self._prompted.update(chain)
        if record.preemptions == 0:
            record.admitted_s = self.now_s
            record.hit_tokens = hit
            record.reused_tokens = max(0, hit - before * size)
        return True

    def _chunks(self, budget: int, may_admit: bool) -> list[tuple[_Sequence, int]]:
        chunks: list[tuple[_Sequence, int]] = []
        while budget > 0:
            if len(chunks) == len(self._prefills) and not (may_admit and self._admit()):
                break
            sequence = self._prefills[len(chunks)]
            chunk = min(sequence.target - sequence.computed, budget, int(self.rules.max_chunk_tokens))
            chunks.append((sequence, chunk))
            budget -= chunk
        return chunks

    def _make_room(self) -> bool:
        preempted = False
        while any(s.decoding for s in self._running):
            if self._cache.active_tokens + self._private() <= self.rules.kv_tokens:
                self._cache.evict_to(int(self.rules.kv_tokens) - self._private())
                break
            self._preempt()
            preempted = True
        return preempted

    def _step(self) -> bool:
        rules = self.rules
        chunks: list[tuple[_Sequence, int]] = []
        if rules.prefill_first:
            chunks = self._chunks(int(rules.max_step_tokens), True)
        if not chunks:
            preempted = self._make_room()
            decoding = sum(s.decoding for s in self._running)
            if not rules.prefill_first:
                budget = int(rules.max_step_tokens) - decoding * (1 + int(rules.draft_tokens))
                chunks = self._chunks(max(0, budget), not preempted)
        decoders = [] if rules.prefill_first and chunks else [s for s in self._running if s.decoding]
        if not chunks and not decoders:
            return False
        seconds = self.step_seconds(self._load(chunks, decoders))
        share_s = seconds / (len(decoders) + sum(chunk for _, chunk in chunks))
        self.steps += 1
        self.now_s += seconds
        self._take_arrivals()  # who comes at the moment a step ends came before that end
        self._finish_step(chunks, decoders, share_s)
        return True

    def _load(self, chunks: list[tuple[_Sequence, int]], decoders: list[_Sequence]) -> StepLoad:
        context = sum(s.target for s in decoders) + self._grown(0) + len(decoders) if decoders else 0
        private = sum(s.private for s in self._running) + self._grown(1 if decoders else 0)
        self.peak_tokens = max(self.peak_tokens, self._cache.resident_tokens + private)
        return StepLoad(
            sequences=float(len(chunks) + len(decoders)),
            decode_sequences=float(len(decoders)),
            decode_kv_tokens=float(context),
            draft_tokens=float(len(decoders) * int(self.rules.draft_tokens)),
            prefill_tokens=float(sum(chunk for _, chunk in chunks)),
            prefill_attention_pairs=sum(chunk * s.computed + chunk * chunk / 2.0 for s, chunk in chunks),
        )

    def _finish_step(self, chunks: list[tuple[_Sequence, int]], decoders: list[_Sequence], share_s: float) -> None:
        ended = []
        for sequence in decoders:
            sequence.steps += 1
            self.records[sequence.call].busy_s += share_s
            if sequence.steps * int(self.rules.progress) >= (sequence.generated) * PROGRESS_PARTS:
                ended.append(sequence)
        for sequence in sorted(ended, key=lambda s: s.key[1]):
            self._retire(sequence, finished=True)
            self.records[sequence.call].produced_tokens = int(self.workload.output_tokens[sequence.call])
            self._end(sequence.call, SERVED, self.now_s)
        for sequence, chunk in chunks:
            record = self.records[sequence.call]
            sequence.computed += chunk
            record.busy_s += chunk * share_s
            if sequence.computed < sequence.target:
                continue
            self._prefills.remove(sequence)
            record.first_s = record.first_s or self.now_s
            record.produced_tokens += sequence.promised > 0
            if sequence.promised > 1:
                sequence.decoding, sequence.generated = True, sequence.promised - 1
            else:
                self._retire(sequence, finished=True)
                self._end(sequence.call, SERVED, self.now_s)
