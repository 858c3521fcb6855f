"""What this machine is, and what else it was doing."""

import os
import platform
import time

from workers import Process


def description():
    model = "unknown processor"
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
    }


def _busy_and_stolen():
    """Seconds all processors were busy, and seconds a host kept from them."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="utf-8") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _, _, interrupts, soft, stolen = fields[:8]
    return (user + nice + system + interrupts + soft) / ticks, stolen / ticks


class Load:
    """Counts, from here on, the processors that other programs took."""

    def __init__(self):
        self._start = time.monotonic()
        self._busy, self._stolen = _busy_and_stolen()
        self._own = self._own_seconds()

    @staticmethod
    def _own_seconds():
        return time.process_time() + sum(
            process.seconds() for process in Process.started)

    def report(self):
        """Processors in use by others, and by the host, on average."""
        elapsed = max(time.monotonic() - self._start, 1e-3)
        busy, stolen = _busy_and_stolen()
        others = busy - self._busy - (self._own_seconds() - self._own)
        return {
            "seconds": round(elapsed, 1),
            "other_processors": round(max(others, 0) / elapsed, 3),
            "stolen_processors": round((stolen - self._stolen) / elapsed, 3),
            "load_average": round(os.getloadavg()[0], 2),
        }
