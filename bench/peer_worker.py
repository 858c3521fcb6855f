"""Another library's attention, asked as bench/worker.h says.

    peer_worker.py LIBRARY THREADS

    about                        its version, and how it was built
    variants CASE                the ways it has to compute a case
    time CASE VARIANT SECONDS    seconds of one computation, repeated for about
                                 that long, and its processor time

A case is kernel/1x12x1024x64, kernel/causal_1x12x1024x64 or layer/512. The
first time a variant is asked for a case its answer is compared with numpy's in
float64; a variant that computes something else is an error.
"""

import importlib
import sys
import time

import numpy as np

TOLERANCE = 2e-4  # a wrong mask or scale is off by 1e-2 at least
CHECKED_ROWS = 64


class Case:
    """A shape with its inputs, and what comes out."""

    def __init__(self, name):
        kind, _, shape = name.partition("/")
        generator = np.random.default_rng(1)

        def normal(*size, scale=1.0):
            return (generator.standard_normal(size) * scale).astype(np.float32)

        self.layer = kind == "layer"
        self.causal = shape.startswith("causal_")
        if self.layer:
            self.width, self.heads, self.n = 768, 12, int(shape)
            self.batch, self.head_dim = 1, self.width // self.heads
            self.input = normal(1, self.n, self.width)
            # query, key, value, output; [in, out]
            self.weights = [normal(self.width, self.width,
                                   scale=self.width**-0.5) for _ in range(4)]
            self.biases = [normal(self.width) for _ in range(4)]
        else:
            self.batch, self.heads, self.n, self.head_dim = (
                int(size) for size in shape.removeprefix("causal_").split("x"))
            size = (self.batch, self.heads, self.n, self.head_dim)
            self.query, self.key, self.value = (normal(*size) for _ in range(3))

    def check(self, output):
        """Refuses an output, [batch, heads, n, head_dim] or of a layer
        [1, n, width], that is not attention's."""
        rows = np.linspace(0, self.n - 1, min(self.n, CHECKED_ROWS)).astype(int)
        if self.layer:
            expected = self._layer_rows(rows)
            actual = np.asarray(output).reshape(self.n, self.width)[rows]
        else:
            expected = self._head_rows(
                self.query[-1, -1], self.key[-1, -1], self.value[-1, -1], rows)
            actual = np.asarray(output).reshape(
                self.batch, self.heads, self.n, self.head_dim)[-1, -1][rows]
        worst = np.abs(actual - expected).max()
        if not worst <= TOLERANCE:
            raise ValueError(f"it is off by {worst:.3g}")

    def _head_rows(self, query, key, value, rows):
        query, key, value = (
            x.astype(np.float64) for x in (query[rows], key, value))
        scores = query @ key.T / np.sqrt(self.head_dim)
        if self.causal:
            scores[np.arange(self.n)[None, :] > rows[:, None]] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return weights @ value / weights.sum(axis=1, keepdims=True)

    def _layer_rows(self, rows):
        inputs = self.input[0].astype(np.float64)
        query, key, value = (
            inputs @ weight + bias
            for weight, bias in zip(self.weights[:3], self.biases[:3]))
        heads = []
        for head in range(self.heads):
            columns = slice(head * self.head_dim, (head + 1) * self.head_dim)
            heads.append(self._head_rows(
                query[:, columns], key[:, columns], value[:, columns], rows))
        return np.concatenate(heads, axis=1) @ self.weights[3] + self.biases[3]


def seconds_of(function, seconds):
    """Seconds of one call, of as many as fill the time, by the clock and of
    this process's processor time."""
    function()
    calls, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while True:
        function()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / calls, (time.process_time() - cpu_start) / calls


def main(library, threads):
    peer = importlib.import_module(f"peer_{library}").Peer(int(threads))
    cases, ready = {}, {}

    def prepared(case, variant):
        if (case, variant) not in ready:
            function, output = peer.prepare(cases[case], variant)
            function()
            cases[case].check(output())
            ready[case, variant] = function
        return ready[case, variant]

    def answer(words):
        if words[0] == "about":
            return peer.about()
        if words[1] not in cases:
            cases.clear()  # one case at a time: they are large
            ready.clear()
            cases[words[1]] = Case(words[1])
        if words[0] == "variants":
            return " ".join(peer.variants(cases[words[1]]))
        if words[0] == "time":
            if words[2] not in peer.variants(cases[words[1]]):
                raise ValueError(f"no variant {words[2]}")
            function = prepared(words[1], words[2])
            return "%r %r" % seconds_of(function, float(words[3]))
        raise ValueError(f"no command {words[0]}")

    for line in sys.stdin:
        try:
            reply = "ok " + answer(line.split())
        except Exception as error:  # pylint: disable=broad-except
            reply = f"error {type(error).__name__}: {error}"
        print(" ".join(reply.split()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
