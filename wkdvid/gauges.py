"""What is looked at now and then, and not counted as it happens."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path

from wkdvid.backends.driver_metrics import DriverMetrics
from wkdvid.core.catalog import State
from wkdvid.core.metrics import counter, gauge
from wkdvid.core.services import Services

LOOK_S = 2.0
"""Between two looks of each worker."""
DATASETS = gauge("wkdvid_datasets", "Datasets that a worker knows, of all workers together", ("state",))
VOLUMES = gauge("wkdvid_open_volumes", "Layers that workers have open, of all together").of()
BODIES = gauge("wkdvid_body_cache_bytes", "Ready bodies that are kept").of()
LIMITS = gauge("wkdvid_cache_limit_bytes", "What caches may hold", ("cache",))
RESIDENT = gauge("wkdvid_resident_bytes", "Memory of the workers, what they share counted for each").of()
CPU = counter("wkdvid_cpu_seconds_total", "Time of processors that workers took").of()

_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class Gauges:
    """Of one worker."""

    def __init__(self, services: Services, pool_bytes: int) -> None:
        """
        Args:
            pool_bytes: That decoded chunks may take.
        """
        self._services = services
        self._drivers = DriverMetrics()
        self._cpu_s = 0.0
        LIMITS.of("bodies").set(services.bodies.max_bytes)
        LIMITS.of("chunks").set(pool_bytes)

    def look(self) -> None:
        datasets = self._services.catalog.datasets()
        states = Counter(dataset.state for dataset in datasets)
        for state in State:
            DATASETS.of(state.value).set(states[state])
        VOLUMES.set(sum(len(dataset.layers) for dataset in datasets))
        BODIES.set(self._services.bodies.bytes)
        RESIDENT.set(_resident())
        before, self._cpu_s = self._cpu_s, time.process_time()
        CPU.add(self._cpu_s - before)
        self._drivers.look()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)


def _resident() -> int:
    """Bytes; 0 where the kernel does not tell it so (proc(5), statm)."""
    return int(_STATM.read_text().split()[1]) * _PAGE if _STATM.exists() else 0
