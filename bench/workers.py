"""Other programs: asked one line at a time, and stopped while others run."""

import os
import pathlib
import signal
import subprocess
import time


class WorkerError(Exception):
    """A worker refused, or ended."""


def process_seconds(pid):
    """Processor time of a whole process, to the nanosecond."""
    # Linux's encoding of a process in a clock: MAKE_PROCESS_CPUCLOCK in
    # include/linux/posix-timers_types.h, with CPUCLOCK_SCHED.
    return time.clock_gettime((~pid << 3) | 2)


class Process:
    """A program we started. Knows its processor time, also when it has ended."""

    started = []

    def __init__(self, command, log, **options):
        # What is set for one OpenBLAS does not fit the one of another program.
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("OPENBLAS_", "OMP_"))}
        environment.update(options.pop("env", {}))
        self._log = open(log, "ab")
        self._popen = subprocess.Popen(
            [str(part) for part in command], stderr=self._log, env=environment,
            **options)
        self._seconds = 0.0
        Process.started.append(self)

    @property
    def pid(self):
        return self._popen.pid

    def seconds(self):
        if self._popen.poll() is None:
            self._seconds = process_seconds(self.pid)
        return self._seconds

    def running(self):
        return self._popen.poll() is None

    def end(self, patience=10):
        """Ends it, gently at first."""
        if self.running():
            self.seconds()
            self._popen.send_signal(signal.SIGCONT)
            if self._popen.stdin is not None:
                self._popen.stdin.close()
            else:
                self._popen.terminate()
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._log.close()


class Worker(Process):
    """A program of the protocol of bench/worker.h. Between two questions it is
    stopped, so that a thread that spins takes nothing from the others."""

    def __init__(self, command, log, **options):
        super().__init__(command, log, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, bufsize=1,
                         **options)
        self._log_path = log

    def ask(self, *words):
        """The answer's words; WorkerError if it is an error."""
        line = " ".join(str(word) for word in words)
        try:
            self._popen.send_signal(signal.SIGCONT)
            self._popen.stdin.write(line + "\n")
            answer = self._popen.stdout.readline().rstrip("\n")
            self._popen.send_signal(signal.SIGSTOP)
        except (OSError, ValueError) as error:  # it has ended
            raise WorkerError(f"{line}: {error}") from error
        if not answer:
            raise WorkerError(f"{line}: it ended; see {self._log_path}")
        verdict, _, rest = answer.partition(" ")
        if verdict != "ok":
            raise WorkerError(f"{line}: {rest}")
        return rest

    def numbers(self, *words):
        return [float(number) for number in self.ask(*words).split()]


class Server(Process):
    """A server that tells by a file that it listens."""

    def __init__(self, command, log, file, **options):
        self._file = pathlib.Path(file)
        self._file.unlink(missing_ok=True)
        self._target = None
        super().__init__(command, log, **options)
        self._log_path = log

    def target(self):
        """Where it listens, once it does, as gRPC names it."""
        if self._target is None:
            self._target = self._wait_for_target()
        return self._target

    def _wait_for_target(self):
        for _ in range(600):
            target = self._target_in(self._file)
            if target is not None:
                return target
            if not self.running():
                break
            time.sleep(0.1)
        raise WorkerError(f"no {self._file}; see {self._log_path}")


class TcpServer(Server):
    """Writes its port on loopback to the file."""

    @staticmethod
    def _target_in(file):
        port = file.read_text().strip() if file.exists() else ""
        return f"127.0.0.1:{port}" if port else None


class UnixServer(Server):
    """The file is the Unix socket itself."""

    @staticmethod
    def _target_in(file):
        return f"unix:{file}" if file.is_socket() else None
