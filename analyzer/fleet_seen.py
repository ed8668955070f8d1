"""The fleet that serving metrics show: how many engines and devices sent readings, and how busy they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferometer.schema.records import ServingSample

ENGINE_METRICS = ("vllm:", "vllm.", "sglang:", "sglang.", "tgi_", "trtllm")
DEVICE_METRICS = ("DCGM_", "dcgm")
BUSY_METRICS = {"DCGM_FI_PROF_SM_ACTIVE": 1.0, "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1.0, "DCGM_FI_DEV_GPU_UTIL": 0.01}
"""Metrics of how busy a device is with what makes each a share; the first that was read counts."""
PLACES = ("service.instance.id", "k8s.pod.name", "pod", "instance", "host.name", "Hostname", "hostname")
ENGINES = ("engine", "engine_id", "dp_rank")
DEVICES = ("UUID", "gpu", "device")


@dataclass(slots=True, frozen=True)
class FleetSeen:
    """What readings say of a fleet.

    Attributes:
        replicas: engines that sent readings.
        devices: accelerators that sent readings.
        utilisation: mean share of time in which devices were busy, each device alike; None where none was read.
        readings: of how many values that is the mean.
    """

    replicas: int
    devices: int
    utilisation: float | None
    readings: int


def fleet_seen(samples: Iterable[ServingSample]) -> FleetSeen:
    """Return the fleet behind readings: engines and devices are told apart by where they run and their own names."""
    engines: dict[str | None, set[str]] = defaultdict(set)
    devices: set[tuple[str | None, str | None]] = set()
    busy: dict[str, dict[tuple[str | None, str | None], list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        if sample.metric.startswith(ENGINE_METRICS):
            # a server's own readings name no engine, those of its data-parallel ranks do
            named = engines[_named(sample, PLACES)]
            if (engine := _named(sample, ENGINES)) is not None:
                named.add(engine)
        elif sample.metric.startswith(DEVICE_METRICS):
            device = _named(sample, PLACES), _named(sample, DEVICES)
            devices.add(device)
            if sample.metric in BUSY_METRICS:
                busy[sample.metric][device].append(sample.value * BUSY_METRICS[sample.metric])
    best = next((busy[metric] for metric in BUSY_METRICS if metric in busy), {})
    means = [sum(values) / len(values) for values in best.values()]
    return FleetSeen(
        replicas=sum(max(1, len(named)) for named in engines.values()),
        devices=len(devices),
        utilisation=sum(means) / len(means) if means else None,
        readings=sum(len(values) for values in best.values()),
    )


def _named(sample: ServingSample, names: Sequence[str]) -> str | None:
    resource = dict(sample.resource.attributes) if sample.resource else {}
    return next((str(found) for name in names if (found := resource.get(name) or sample.attributes.get(name))), None)
