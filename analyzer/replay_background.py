"""Lengths of other tenants' calls, for load beside the recorded workload."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.workload import Workload
from inferometer.schema.errors import InputError, UserError

Ints = NDArray[np.int32]

_ROWS = 4096
_LONGEST = 2**30

QUANTILES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "azure_conv": (
        (
            2,
            181,
            207,
            372,
            387,
            396,
            403,
            414,
            703,
            984,
            1020,
            1045,
            1071,
            1097,
            1130,
            1189,
            1315,
            1876,
            2734,
            4083,
            14050,
        ),
        (7, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411, 424, 451, 1000),
    ),
    "azure_code": (
        (
            3,
            75,
            147,
            232,
            386,
            578,
            770,
            938,
            1075,
            1261,
            1469,
            1690,
            1909,
            2164,
            2433,
            2745,
            3192,
            3919,
            5186,
            7302,
            7437,
        ),
        (6, 6, 7, 7, 8, 9, 9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 29, 39, 55, 90, 1899),
    ),
    "mooncake": (
        (
            891,
            901,
            964,
            1261,
            1662,
            2307,
            3263,
            4250,
            4993,
            5871,
            6909,
            8187,
            9570,
            11239,
            13196,
            15366,
            17869,
            21467,
            27367,
            39549,
            126195,
        ),
        (1, 10, 24, 46, 100, 157, 213, 256, 291, 323, 350, 375, 399, 423, 447, 472, 504, 543, 597, 698, 2000),
    ),
}
"""Input and output tokens at the 0th, 5th, ... 100th percentile of public request traces: Azure LLM inference 2023
(conv 19,366 and code 8,819 calls, CC-BY-4.0) and the Mooncake conversation trace (12,031 calls, Apache-2.0), worked out
2026-11-23. Inputs and outputs of these traces hardly go together (correlation -0.11 and 0.00 for Azure)."""


def background_lengths(profile: str, workload: Workload) -> tuple[Ints, Ints]:
    """Return input and output tokens to draw calls from, int32, shape (n,).

    Args:
        profile: a public trace, ``own``, or the path of a trace in any format that is imported.
        workload: gives ``own`` its lengths.

    Lengths of a public trace are drawn from its quantiles, input and output independently; those of ``own`` and of a
    file are its pairs.

    Raises:
        UserError: no profile has that name.
        InputError: the file cannot be read, is of no known format, or states no lengths.
    """
    if profile == "own":
        return workload.input_tokens, workload.output_tokens
    path = Path(profile)
    if profile not in QUANTILES and (path.is_file() or path.name != profile or path.suffix):
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(profile, f"cannot be read: {error.strerror}") from error
        return _trace_lengths(path, state.st_mtime_ns, state.st_size)
    if profile not in QUANTILES:
        known = ", ".join(["own", *QUANTILES])
        raise UserError(f"unknown background profile {profile!r}: it can be {known}, or the path of a request trace")
    inputs, outputs = QUANTILES[profile]
    generator = np.random.default_rng(1)
    return _draw(inputs, generator), _draw(outputs, generator)


@lru_cache(maxsize=4)
def _trace_lengths(path: Path, _changed_ns: int, _size: int) -> tuple[Ints, Ints]:
    """Return the lengths of a trace's answered requests; those without an answer took no machine's time."""
    from inferometer.ingest.importers import importer_of
    from inferometer.ingest.importers.importer import Options
    from inferometer.ingest.importers.opening import open_source

    with open_source(path, Options()) as source:
        meters = [call.meters for batch in importer_of(source).read(source) for call in batch.inferences]
    pairs = np.array([(each.input_total or 0, each.output or 0) for each in meters], np.int64).reshape(-1, 2)
    pairs = pairs[(pairs > 0).all(1) & (pairs < _LONGEST).all(1)]
    if not len(pairs):
        raise InputError(str(path), "states no request's input and output tokens")
    inputs, outputs = (np.ascontiguousarray(column, np.int32) for column in pairs.T)
    return inputs, outputs


def _draw(quantiles: tuple[float, ...], generator: np.random.Generator) -> Ints:
    points = np.linspace(0.0, 1.0, len(quantiles))
    drawn = np.interp((np.arange(_ROWS) + 0.5) / _ROWS, points, quantiles)
    generator.shuffle(drawn)
    return np.asarray(np.maximum(1, np.rint(drawn)), np.int32)
