"""What aiconfigurator-core says of a random sample of the measured rows, for docs/accuracy.md.

    python -m venv PEER && PEER/bin/pip install aiconfigurator-core
    python tools/fit_profiles.py --peer-points POINTS.csv
    PEER/bin/python tools/compare_aiconfigurator.py POINTS.csv PEER.csv
    python tools/fit_profiles.py --peer PEER.csv

Runs in an environment of its own and imports nothing of ours. POINTS.csv holds no measured time: row, hardware, engine,
model, family, precision, tp, ep, dp, users, isl, osl, with ranks as we read them. Its estimate API is asked at its
default database versions; what it refuses is left empty, with the reason.
"""

from __future__ import annotations

import csv
import random
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

SAMPLE, SEED, SECONDS = 240, 20261123, 1200.0
MODELS = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "zai-org/GLM-5": "zai-org/GLM-5",
}
GEMM = {"fp8": "fp8", "fp4": "nvfp4", "int4": "int4_wo", "bf16": "bfloat16"}
MOE = {"fp8": "fp8_block", "fp4": "nvfp4", "int4": "int4_wo", "bf16": "bfloat16"}


class Peer:
    """Its models and databases, each built once."""

    def __init__(self) -> None:
        self._built: dict[tuple[Any, ...], Any] = {}

    def estimate(self, row: dict[str, str]) -> tuple[float, float]:
        """Return (TTFT, TPOT) in milliseconds of one row; attention in BF16 where its tables lack FP8."""
        try:
            return self._estimate(row, None)
        except Exception:
            return self._estimate(row, "bfloat16")

    def _estimate(self, row: dict[str, str], attention: str | None) -> tuple[float, float]:
        from aiconfigurator_core.sdk.config import RuntimeConfig

        backend, model, database = self._deployment(row, attention)
        isl, osl = int(float(row["isl"])), int(float(row["osl"]))
        users = max(int(float(row["users"])) // int(row["dp"]), 1)
        runtime = RuntimeConfig(batch_size=users, isl=isl, osl=osl)
        summary = backend.run_agg(model, database, runtime, ctx_tokens=max(isl, 2048))
        found = summary.get_summary_df().iloc[0]
        return float(found["ttft"]), float(found["tpot"])

    def _deployment(self, row: dict[str, str], attention: str | None) -> tuple[Any, Any, Any]:
        names = ("hardware", "engine", "model", "precision", "tp", "ep", "dp")
        key = (*(row[name] for name in names), attention)
        if key not in self._built:
            try:
                self._built[key] = self._build(row, attention)
            except Exception as error:
                self._built[key] = error
        if isinstance(self._built[key], Exception):
            raise self._built[key]
        return self._built[key]  # type: ignore[no-any-return]

    def _build(self, row: dict[str, str], attention: str | None) -> tuple[Any, Any, Any]:
        from aiconfigurator_core.sdk.backends.factory import get_backend
        from aiconfigurator_core.sdk.config_builders import build_model_config
        from aiconfigurator_core.sdk.models import get_model
        from aiconfigurator_core.sdk.perf_database import get_database, get_latest_database_version

        tensor, expert, data = int(row["tp"]), int(row["ep"]), int(row["dp"])
        mixture = row["family"] != "dense"
        own = row["model"].startswith("openai/gpt-oss")  # its checkpoint states its quantisation
        config = build_model_config(
            tensor, 1, data, tensor * data // expert if mixture else 1, expert if mixture else 1,
            gemm_quant_mode=None if mixture else GEMM[row["precision"]],
            moe_quant_mode=None if own or not mixture else MOE[row["precision"]],
            fmha_quant_mode=attention,
        )  # fmt: skip
        name = MODELS.get(row["model"], row["model"])
        model = get_model(name, config, row["engine"])
        latest = get_latest_database_version(row["hardware"], row["engine"])
        return get_backend(row["engine"]), model, get_database(row["hardware"], row["engine"], latest)


def main() -> None:
    """Sample rows, ask, write."""
    points, out = Path(sys.argv[1]), Path(sys.argv[2])
    with points.open(newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(SEED).shuffle(rows)
    peer, begin = Peer(), time.monotonic()
    name = f"aiconfigurator-core {version('aiconfigurator-core')}"
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "version", "ttft_ms", "tpot_ms", "reason"])
        for row in rows[:SAMPLE]:
            if time.monotonic() - begin > SECONDS:
                break
            try:
                ttft, tpot = peer.estimate(row)
                writer.writerow([row["row"], name, ttft, tpot, ""])
            except Exception as error:
                writer.writerow([row["row"], name, "", "", f"{type(error).__name__}: {error}"[:160]])
            file.flush()


if __name__ == "__main__":
    main()
