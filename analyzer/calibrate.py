"""Measure the machine at hand with PyTorch and write what it reached as a hardware profile.

Four kinds of kernel decide a serving step, so four are timed: a copy (what streaming weights can reach), matrix
products over sizes and precisions, attention of one new token over a long cache, and attention of a whole prompt. Where
a process group is up, an all-reduce as well. Every figure is the best of the sizes, each the median of repeated runs.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from inferometer.profiles.hardware import GIB, Hardware
from inferometer.schema.errors import MissingExtraError, UserError

GEMM_ROWS = (1, 16, 64, 256, 1024, 4096)


@dataclass(frozen=True, slots=True)
class Effort:
    """How large the kernels are and how long each is repeated."""

    copy_bytes: int
    gemm_width: int
    context_tokens: int
    decode_sequences: int
    prompt_tokens: int
    seconds: float


FULL = Effort(
    copy_bytes=2**31, gemm_width=8192, context_tokens=8192, decode_sequences=32, prompt_tokens=8192, seconds=0.5
)
MODEST = Effort(
    copy_bytes=2**28, gemm_width=2048, context_tokens=4096, decode_sequences=8, prompt_tokens=1024, seconds=0.3
)
"""For processors, whose caches a copy of 256 MB leaves and whose products are a hundred times slower."""


SLOWEST_COPY_BYTES_PER_S = 1e9
"""No machine that serves models copies memory more slowly."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """One matrix product: (rows x width) times (width x width)."""

    precision: str
    rows: int
    flop_per_s: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a machine reached. Rates are per second; None where the machine or its PyTorch cannot do it."""

    device: str
    kind: str
    software: str
    memory_bytes: float
    copy_bytes_per_s: float
    gemms: tuple[Gemm, ...]
    decode_attention_bytes_per_s: float
    prefill_attention_flop_per_s: float
    all_reduce_seconds: float | None
    all_reduce_bytes_per_s: float | None

    def peak(self, precision: str) -> float | None:
        """Return the best rate of a precision over all sizes, operations/s, or None."""
        return max((gemm.flop_per_s for gemm in self.gemms if gemm.precision == precision), default=None)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that were measured, in order."""
        return tuple(dict.fromkeys(gemm.precision for gemm in self.gemms))


def measure(device: str | None = None, effort: Effort | None = None) -> Measurements:
    """Measure one device.

    Args:
        device: ``cuda``, ``cuda:1``, ``cpu``; the first GPU where None, else the processor.
        effort: sizes and repetitions; `FULL` on a GPU and `MODEST` on a processor where None.

    Raises:
        MissingExtraError: PyTorch is not installed.
        UserError: there is no such device.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("inferometer calibrate", "calibrate", "torch") from error
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"PyTorch has no device {name!r} here: {str(error).splitlines()[0]}") from error
    effort = effort or (MODEST if place.type == "cpu" else FULL)
    with torch.inference_mode():
        bench = Bench(torch, place, effort)
        reduce_seconds, reduce_rate = bench.all_reduce()
        return Measurements(
            device=_device_name(torch, place),
            kind="cpu" if place.type == "cpu" else "gpu",
            software=f"torch {torch.__version__}",
            memory_bytes=_memory_bytes(torch, place),
            copy_bytes_per_s=bench.copy(),
            gemms=tuple(bench.gemms()),
            decode_attention_bytes_per_s=bench.decode_attention(),
            prefill_attention_flop_per_s=bench.prefill_attention(),
            all_reduce_seconds=reduce_seconds,
            all_reduce_bytes_per_s=reduce_rate,
        )


class Bench:
    """The kernels on one device; each method returns what it reached."""

    heads, kv_heads, head_dim = 32, 8, 128

    def __init__(self, torch: Any, place: Any, effort: Effort) -> None:
        self.torch = torch
        self.place = place
        self.effort = effort
        self.half = torch.bfloat16

    def seconds(self, kernel: Callable[[], Any]) -> float:
        """Return the median time of a kernel, after two runs that do not count."""
        times: list[float] = []
        for _ in range(2):
            kernel()
        self._wait()
        begin = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < self.effort.seconds:
            start = time.perf_counter()
            kernel()
            self._wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def _wait(self) -> None:
        if self.place.type == "cuda":
            self.torch.cuda.synchronize(self.place)

    def copy(self) -> float:
        """Return bytes/s of a large copy, what is read and what is written both counted."""
        source = self.torch.zeros(self.effort.copy_bytes, dtype=self.torch.uint8, device=self.place)
        target = self.torch.empty_like(source)
        return 2.0 * self.effort.copy_bytes / self.seconds(lambda: target.copy_(source))

    def gemms(self) -> list[Gemm]:
        """Return matrix products over precisions and rows; a precision that the device refuses is left out."""
        width, found = self.effort.gemm_width, []
        for precision in ("fp32", "bf16", "fp8", "int8"):
            for rows in GEMM_ROWS:
                if rows > 4 * width:
                    continue
                try:
                    kernel = self._product(precision, rows, width)
                    seconds = self.seconds(kernel)
                except (RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError):
                    continue  # this device or this PyTorch cannot; the profile then does not name the precision
                found.append(Gemm(precision, rows, 2.0 * rows * width * width / seconds))
        return found

    def _product(self, precision: str, rows: int, width: int) -> Callable[[], Any]:
        torch, place = self.torch, self.place
        if precision in ("fp32", "bf16"):
            kind = torch.float32 if precision == "fp32" else self.half
            left = torch.randn(rows, width, device=place).to(kind)
            right = torch.randn(width, width, device=place).to(kind)
            return lambda: left @ right
        if precision == "int8":
            left = torch.randint(-8, 8, (max(rows, 32), width), dtype=torch.int8, device=place)
            right = torch.randint(-8, 8, (width, width), dtype=torch.int8, device=place)
            if left.shape[0] != rows:
                raise ValueError("the kernel takes no fewer rows")
            return lambda: torch._int_mm(left, right)
        left = torch.randn(max(rows, 16), width, device=place).to(torch.float8_e4m3fn)
        right = torch.randn(width, width, device=place).to(torch.float8_e4m3fn).t()
        one = torch.ones((), device=place)
        if left.shape[0] != rows:
            raise ValueError("the kernel takes no fewer rows")
        return lambda: torch._scaled_mm(left, right, scale_a=one, scale_b=one, out_dtype=self.half)

    def decode_attention(self) -> float:
        """Return bytes/s of keys and values read by one new token of many sequences."""
        n, context = self.effort.decode_sequences, self.effort.context_tokens
        query = self._random(n, self.heads, 1)
        key, value = self._random(n, self.heads, context), self._random(n, self.heads, context)
        attend = self.torch.nn.functional.scaled_dot_product_attention
        moved = 2.0 * n * self.heads * context * self.head_dim * 2
        return moved / self.seconds(lambda: attend(query, key, value))

    def prefill_attention(self) -> float:
        """Return operations/s of a causal prompt, counting the pairs that the mask leaves."""
        tokens = self.effort.prompt_tokens
        query, key, value = (self._random(1, self.heads, tokens) for _ in range(3))
        attend = self.torch.nn.functional.scaled_dot_product_attention
        flop = 4.0 * self.heads * self.head_dim * tokens * tokens / 2
        return flop / self.seconds(lambda: attend(query, key, value, is_causal=True))

    def _random(self, n: int, heads: int, tokens: int) -> Any:
        return self.torch.randn(n, heads, tokens, self.head_dim, device=self.place).to(self.half)

    def all_reduce(self) -> tuple[float | None, float | None]:
        """Return (seconds of a small all-reduce, bytes/s of a large one), or None where no process group is up."""
        distributed = self.torch.distributed
        if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
            return None, None
        ranks = distributed.get_world_size()
        small = self.torch.zeros(4096, dtype=self.half, device=self.place)
        large = self.torch.zeros(self.effort.copy_bytes // 8, dtype=self.half, device=self.place)
        moved = 2.0 * (ranks - 1) / ranks * large.numel() * 2
        seconds = self.seconds(lambda: distributed.all_reduce(small))
        return seconds, moved / self.seconds(lambda: distributed.all_reduce(large))


def _device_name(torch: Any, place: Any) -> str:
    if place.type == "cuda":
        return str(torch.cuda.get_device_name(place))
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _memory_bytes(torch: Any, place: Any) -> float:
    if place.type == "cuda":
        return float(torch.cuda.get_device_properties(place).total_memory)
    import os

    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def profile_text(found: Measurements, as_of: date, like: Hardware | None = None) -> str:
    """Return a hardware profile as TOML.

    Args:
        found: the measurements.
        as_of: the day they were taken.
        like: a profile whose data sheet stands for the peaks, so that shares of peak mean something; what was measured
            is its own peak where None.

    Raises:
        UserError: memory was copied so slowly that the machine must have been busy with something else.
    """
    if found.copy_bytes_per_s < SLOWEST_COPY_BYTES_PER_S:
        raise UserError(
            f"{found.device} copied {found.copy_bytes_per_s / 1e9:.2g} GB/s: it is busy with something else, and what "
            "was measured is not what it can; try again when it is idle"
        )
    source = f"inferometer calibrate on {found.device}, {found.software}"
    dated = [f"as_of = {as_of.isoformat()}", f"source = {_quoted(source)}", 'confidence = "high"', ""]
    sheet = dated if like is None else _dated(like)
    bandwidth = found.copy_bytes_per_s if like is None else like.memory.bandwidth_bytes_per_s
    capacity = found.memory_bytes if like is None else like.memory.capacity_bytes
    peaks = {each: found.peak(each) for each in found.precisions} if like is None else like.compute.rates
    lines = [f"name = {_quoted(found.device)}", 'vendor = "measured"', f'kind = "{found.kind}"']
    lines += [f"release = {_quoted(as_of.isoformat())}", "", "[memory]", f"capacity_gib = {capacity / GIB:.4g}"]
    lines += [f"bandwidth_gb_per_s = {bandwidth / 1e9:.5g}", 'type = "measured"', *sheet, "[compute]"]
    lines += [_rate(each, "dense", rate) for each, rate in peaks.items() if rate]
    lines += sheet
    if like is not None and like.link is not None:
        lines += ["[link]", f"one_way_bandwidth_gb_per_s = {like.link.bandwidth_bytes_per_s / 1e9:g}"]
        lines += [f"domain_chips = {like.link.domain_chips}", *_dated(like)]
    lines += ["[measured]", f"copy_gb_per_s = {found.copy_bytes_per_s / 1e9:.5g}"]
    lines += [_rate(each, "gemm", rate) for each in found.precisions if (rate := found.peak(each))]
    lines.append(f"decode_attention_gb_per_s = {found.decode_attention_bytes_per_s / 1e9:.5g}")
    lines.append(f"prefill_attention_tflop_per_s = {found.prefill_attention_flop_per_s / 1e12:.5g}")
    if found.all_reduce_seconds is not None and found.all_reduce_bytes_per_s is not None:
        lines.append(f"all_reduce_us = {found.all_reduce_seconds * 1e6:.5g}")
        lines.append(f"all_reduce_gb_per_s = {found.all_reduce_bytes_per_s / 1e9:.5g}")
    return "\n".join([*lines, *dated]).rstrip() + "\n"


def _dated(like: Hardware) -> list[str]:
    origin = like.memory.provenance
    return [
        f"as_of = {origin.as_of.isoformat()}",
        f"source = {_quoted(f'data sheet of {like.id}: {origin.source}')}",
        f'confidence = "{origin.confidence}"',
        "",
    ]


def _rate(precision: str, kind: str, rate: float) -> str:
    unit = "top_per_s" if precision == "int8" else "tflop_per_s"
    return f"{precision}_{kind}_{unit} = {rate / 1e12:.5g}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "/").replace('"', "'") + '"'
