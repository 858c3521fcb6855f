"""Runs our programs and others' in turns, never two at once."""

import functools
import pathlib
import subprocess
import tempfile

from peers import Peers
from workers import Process, TcpServer, UnixServer, Worker, WorkerError

# Benchmarks of the core that run in one thread on any machine.
ONE_THREAD = {"tiny", "sgemm/1", "fma_peak"}

# Room for 64 MiB of numbers and what is around them.
MESSAGE_BYTES = 80 << 20


class Wire:
    """Servers of one build that are reached over TCP or over Unix sockets, and
    the programs that ask them. Each starts when it is first needed."""

    def __init__(self, build, directory, folder, unix):
        self._build = build
        self._directory = directory  # of ports and logs
        self._folder = folder  # of sockets, whose paths have to be short
        self._unix = unix
        self._kind = "unix" if unix else "tcp"

    def _log(self, program):
        return self._directory / f"{program}.{self._kind}.log"

    @functools.cached_property
    def attention_server(self):
        command = [self._build / "server" / "attention-server",
                   "--store", "memory", "--max-message-bytes", MESSAGE_BYTES,
                   "--max-result-bytes", MESSAGE_BYTES]
        log = self._log("attention-server")
        if self._unix:
            path = self._folder / "attention"
            return UnixServer([*command, "--listen", f"unix:{path}"], log, path,
                              stdout=subprocess.DEVNULL)
        port = self._directory / "attention.port"
        return TcpServer(
            [*command, "--listen", "127.0.0.1:0", "--port-file", port], log,
            port, stdout=subprocess.DEVNULL)

    @functools.cached_property
    def echo_server(self):
        program = self._build / "bench" / "echo_server"
        log = self._log("echo_server")
        port = self._directory / f"echo.{self._kind}.port"
        if self._unix:
            path = self._folder / "echo"
            return UnixServer([program, port, f"unix:{path}"], log, path,
                              stdin=subprocess.PIPE)
        return TcpServer([program, port], log, port, stdin=subprocess.PIPE)

    @functools.cached_property
    def rpc(self):
        return Worker([self._build / "bench" / "rpc_bench",
                       self.attention_server.target(),
                       self.echo_server.target(), self.attention_server.pid,
                       "--serve"], self._log("rpc_bench"))

    @functools.cached_property
    def client(self):
        return Worker([self._build / "bench" / "client_bench",
                       self.attention_server.target(), "--serve"],
                      self._log("client_bench"))


class Bench:
    """What a row is measured with. Programs start when they are first needed
    and end with the context."""

    def __init__(self, build, directory, rounds, seconds, quick,
                 cpu_time=False):
        self.rounds = rounds
        self.seconds = seconds  # of one contestant in one round
        self.quick = quick
        self.run = 0
        self.clocks = set()  # "CPU", "wall": what was read since it was cleared
        self._cpu_time = cpu_time
        self._build = pathlib.Path(build)
        self._directory = pathlib.Path(directory)  # of ports and logs
        self._directory.mkdir(parents=True, exist_ok=True)
        self._sockets = tempfile.TemporaryDirectory(prefix="attention-bench-")
        self.wires = {unix: Wire(self._build, self._directory,
                                 pathlib.Path(self._sockets.name), unix)
                      for unix in (False, True)}
        cores, self.blas = self.core.ask("about").split(" ", 1)
        self.cores = int(cores)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(Process.started):
            process.end()
        self._sockets.cleanup()

    def alternate(self, contestants):
        """{name: function} to {name: what it returned, by round}. Each goes
        first as often as the others; a first round does not count."""
        names = list(contestants)
        results = {name: [] for name in names}
        for name in names:
            contestants[name]()
        for turn in range(self.rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                results[name].append(contestants[name]())
        return results

    @functools.cached_property
    def peers(self):
        return Peers(self._directory, self.cores, self.kernels[1])

    # --- the core

    @functools.cached_property
    def kernels(self):
        """The instruction set of our kernels, and OpenBLAS's kernel."""
        return self.core.ask("kernels").split()

    @functools.cached_property
    def core(self):
        return self._start_core()

    def _start_core(self):
        return Worker([self._build / "bench" / "core_bench", "--serve"],
                      self._directory / "core_bench.log")

    def core_time(self, name, clock=None):
        """Seconds of one iteration, and items per second. `clock` "wall" is for
        what is compared with something over a socket."""
        seconds, rate, *cpu_seconds = self.core.numbers(
            "time", name, self.seconds)
        if clock == "wall" or not self._counts_cpu_time(name):
            self.clocks.add("wall")
            return seconds, rate
        if not cpu_seconds:
            raise WorkerError(f"{name}: that build does not tell CPU time")
        self.clocks.add("CPU")
        return cpu_seconds[0], rate * seconds / cpu_seconds[0]

    def peer_time(self, worker, case, variant):
        """Seconds of one computation of another library."""
        seconds, cpu_seconds = worker.numbers(
            "time", case, variant, self.seconds)
        counts = self._counts_cpu_time(case)
        self.clocks.add("CPU" if counts else "wall")
        return cpu_seconds if counts else seconds

    def _counts_cpu_time(self, name):
        """Only of one thread: of several, processor time says nothing of the
        waiting of one for another."""
        return self._cpu_time and (self.cores == 1 or name in ONE_THREAD)

    def fresh_core(self, *words):
        """The answer of a process that has done nothing else."""
        worker = self._start_core()
        try:
            return worker.numbers(*words)
        finally:
            worker.end()

    # --- over a socket: TCP, or with `unix` a Unix socket

    def rpc_time(self, name, unix=False):
        """Seconds of one iteration, and items per second."""
        self.clocks.add("wall")
        return self.wires[unix].rpc.numbers("time", name, self.seconds)[:2]

    def client_time(self, name, unix=False):
        """Seconds of one iteration, and items per second."""
        self.clocks.add("wall")
        return self.wires[unix].client.numbers("time", name, self.seconds)[:2]
