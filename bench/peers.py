"""The libraries the core is compared with, in an environment of their own."""

import pathlib
import subprocess
import sys

from workers import Worker, WorkerError

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"

# Peer -> what pip installs for it; None: Debian's, from scripts/packages.txt.
PACKAGES = {
    "onnxruntime": ["numpy", "onnx", "onnxruntime"],
    "torch": ["numpy", "torch"],
    "torch_debian": None,
    "openvino": ["numpy", "openvino"],
}


def say(text):
    print(f"attention: {text}", file=sys.stderr, flush=True)


class Peers:
    """Starts peers when they are first asked for. One that cannot be had is in
    `missing`, with the reason."""

    def __init__(self, directory, threads, blas_kernel):
        self._directory = directory
        self._threads = threads
        self._blas_kernel = blas_kernel
        self._workers = {}
        self.missing = {}
        self.about = {}

    def worker(self, peer):
        """The worker of a peer, or None if it is missing."""
        if peer not in self._workers:
            self._workers[peer] = self._start(peer)
        return self._workers[peer]

    def _start(self, peer):
        try:
            python = self._python(PACKAGES[peer])
            library = "torch" if peer.startswith("torch") else peer
            # Debian's PyTorch computes with the OpenBLAS that we have; the
            # others bring what they compute with.
            shares_blas = PACKAGES[peer] is None
            worker = Worker(
                [python, HERE / "peer_worker.py", library, self._threads],
                self._directory / f"{peer}.log",
                env={"OPENBLAS_CORETYPE": self._blas_kernel}
                if shares_blas else {})
            self.about[peer] = worker.ask("about") + (
                f", OpenBLAS's {self._blas_kernel} kernel"
                if shares_blas else "")
        except (OSError, subprocess.SubprocessError, WorkerError) as error:
            self.missing[peer] = str(error)
            say(f"{peer} is missing: {error}")
            return None
        return worker

    def _python(self, packages):
        if packages is None:
            return "/usr/bin/python3"
        environment = self._directory / "venv"
        python = environment / "bin" / "python"
        if not python.exists():
            subprocess.run(["/usr/bin/python3", "-m", "venv", environment],
                           check=True)
        if not self._installed(environment, packages):
            say(f"installing {' '.join(packages)} into {environment}")
            with open(self._directory / "pip.log", "ab") as log:
                subprocess.run(
                    [python, "-m", "pip", "install", "--quiet",
                     "--constraint", REQUIREMENTS, *packages],
                    check=True, stdout=log, stderr=log, timeout=1800)
            self._mark(environment, packages)
        return python

    # pip needs seconds to see that there is nothing to do.
    @staticmethod
    def _installed(environment, packages):
        mark = environment / ("-".join(packages) + ".txt")
        return mark.exists() and mark.read_text() == REQUIREMENTS.read_text()

    @staticmethod
    def _mark(environment, packages):
        mark = environment / ("-".join(packages) + ".txt")
        mark.write_text(REQUIREMENTS.read_text())
