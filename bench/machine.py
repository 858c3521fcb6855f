"""What this machine is, and what else it was doing."""

import os
import pathlib
import platform
import time

from workers import Process


def processor():
    """The first processor of /proc/cpuinfo: name, vendor, family and model."""
    facts = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return {"processor": facts.get("model name", "unknown processor"),
            "vendor": facts.get("vendor_id", "unknown"),
            "family": facts.get("cpu family", "?"),
            "model": facts.get("model", "?")}


def description():
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        **processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "tcp": pathlib.Path(
            "/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    }


def _busy_and_stolen():
    """Seconds all processors were busy, and seconds a host kept from them."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="utf-8") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    user, nice, system, _, _, interrupts, soft, stolen = fields[:8]
    return (user + nice + system + interrupts + soft) / ticks, stolen / ticks


def _seconds_by_process():
    """{(process, name): its processor time}, of all that are there."""
    ticks = os.sysconf("SC_CLK_TCK")
    seconds = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:  # it has ended
            continue
        name = stat[stat.index("(") + 1:stat.rindex(")")]
        user, system = stat[stat.rindex(")") + 2:].split()[11:13]
        seconds[int(entry.name), name] = (int(user) + int(system)) / ticks
    return seconds


class Load:
    """Counts, from here on, the processors that other programs took."""

    def __init__(self):
        self._start = time.monotonic()
        self._busy, self._stolen = _busy_and_stolen()
        self._own = self._own_seconds()
        self._processes = _seconds_by_process()

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
            "busiest": self._busiest(elapsed),
        }

    def _busiest(self, elapsed):
        """Names of others that took most, with the processors they took."""
        own = {process.pid for process in Process.started} | {os.getpid()}
        took = sorted((
            ((seconds - self._processes.get(process, 0)) / elapsed, process[1])
            for process, seconds in _seconds_by_process().items()
            if process[0] not in own), reverse=True)
        return ", ".join(
            f"{name} {part:.2f}" for part, name in took[:3] if part >= 0.01)
