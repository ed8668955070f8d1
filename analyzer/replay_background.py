"""Lengths of other tenants' calls, for load beside the recorded workload."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.workload import Workload
from inferometer.schema.errors import UnknownNameError

Ints = NDArray[np.int32]

_ROWS = 4096

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

    Lengths of a public trace are drawn from its quantiles, input and output independently but for the ``own`` profile,
    which are the workload's pairs.

    Raises:
        UnknownNameError: no profile has that name.
    """
    if profile == "own":
        return workload.input_tokens, workload.output_tokens
    if profile not in QUANTILES:
        raise UnknownNameError("background profile", profile, ["own", *QUANTILES])
    inputs, outputs = QUANTILES[profile]
    generator = np.random.default_rng(1)
    return _draw(inputs, generator), _draw(outputs, generator)


def _draw(quantiles: tuple[float, ...], generator: np.random.Generator) -> Ints:
    points = np.linspace(0.0, 1.0, len(quantiles))
    drawn = np.interp((np.arange(_ROWS) + 0.5) / _ROWS, points, quantiles)
    generator.shuffle(drawn)
    return np.asarray(np.maximum(1, np.rint(drawn)), np.int32)
