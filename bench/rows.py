"""The rows of bench/floors.json: how each is measured.

A row is a function of a Bench that returns a dictionary with the value, its
quartiles, the number of samples and, where there is something to tell, a note;
or with "missing" and why.
"""

from quartiles import percentile, summary
from workers import WorkerError

KERNELS = ["1x12x1024x64", "8x12x384x64", "1x12x128x64", "1x32x2048x128"]
CAUSAL = ["causal_1x12x1024x64", "causal_1x12x4096x64"]
CAUSAL_OVER_ORT = ["causal_1x12x512x64"] + CAUSAL
LAYERS = [f"layer/{n}" for n in (128, 512, 1024)]
STEEP = "steep_1x12x1024x64"

# What kernels are compared with, and its own floor (bench/driver.py).
YARDSTICK = "sgemm_over_fma_peak"

# Of one shape; beyond it rows are sampled.
ERROR_ROWS = 12288

# A variant this much slower than its library's best cannot be the best.
HOPELESS = 2.0


def ratios(over, under):
    return [a / b for a, b in zip(over, under)]


def quotient(bench, over, under, unit, factor=1.0):
    """A row of two measurements that take turns; tells both in the unit."""
    numbers = bench.alternate({"over": over, "under": under})
    row = summary(ratios(numbers["over"], numbers["under"]))
    row["note"] = " over ".join(
        f"{factor * summary(numbers[side])['value']:.4g}"
        for side in ("over", "under")) + f" {unit}"
    return row


# --- the core beside sgemm

def kernel(shape):
    return lambda bench: quotient(
        bench, lambda: bench.core_time(f"kernel/{shape}")[1],
        lambda: bench.core_time("sgemm")[1], "GFLOP/s", 1e-9)


def yardstick(bench):
    return quotient(bench, lambda: bench.core_time("sgemm/1")[1],
                    lambda: bench.core_time("fma_peak")[1], "GFLOP/s", 1e-9)


def growth(bench):
    return quotient(
        bench, lambda: bench.core_time("kernel/1x2x16384x64")[0],
        lambda: bench.core_time("kernel/1x2x4096x64")[0], "ms", 1e3)


def tiny_us(bench):
    seconds = bench.alternate({"ours": lambda: bench.core_time("tiny")[0]})
    return summary([1e6 * s for s in seconds["ours"]])


def extra_mb(bench):
    return summary([bench.fresh_core("memory", "1x2x16384x64")[0]
                    for _ in range(min(bench.rounds, 5))])


def max_error(bench):
    errors, notes = {}, []
    for shape in KERNELS + CAUSAL_OVER_ORT:
        errors[shape], rows = bench.core.numbers("error", shape, ERROR_ROWS)
        notes.append(f"{shape} {errors[shape]:.3g} ({rows:.0f} rows)")
    row = summary([max(errors.values())])
    row["note"] = ", ".join(notes)
    return row


# --- other libraries

def over_peer(peer, cases):
    """Speed over the best variant of a library, the worst of the cases."""
    def measure(bench):
        worker = bench.peers.worker(peer)
        if worker is None:
            return {"missing": bench.peers.missing[peer]}
        results = {case: one_case(bench, worker, case) for case in cases}
        worst = min(results, key=lambda case: results[case]["value"])
        row = dict(results[worst])
        row["note"] = ", ".join(
            f"{case} {result['value']:.2f} ({result['note']})"
            for case, result in results.items())
        return row
    return measure


def one_case(bench, worker, case):
    seconds = {}  # of one run of each variant, to drop the hopeless
    refused = []
    for variant in worker.ask("variants", case).split():
        try:
            seconds[variant] = min(
                worker.numbers("time", case, variant, 0)[0] for _ in range(3))
        except WorkerError as error:
            refused.append(f"{variant} refused: {error}")
    if not seconds:
        raise WorkerError("; ".join(refused) or f"no variant for {case}")
    best = min(seconds.values())
    contestants = {
        variant: lambda v=variant: bench.peer_time(worker, case, v)
        for variant, one in seconds.items() if one <= HOPELESS * best}
    contestants["ours"] = lambda: bench.core_time(case)[0]
    rounds = bench.alternate(contestants)
    ours = rounds.pop("ours")
    best = min(rounds, key=lambda variant: summary(rounds[variant])["value"])
    row = summary(ratios(rounds[best], ours))
    row["note"] = "; ".join([f"{best} {summary(rounds[best])['value']:.3g} s"]
                            + refused)
    return row


# --- over a socket

def rpc_over_compute(n, unix=False):
    return lambda bench: quotient(
        bench, lambda: bench.client_time(f"layer/{n}", unix)[0],
        lambda: bench.core_time(f"layer/{n}", "wall")[0], "ms", 1e3)


def echo_over_compute(n, unix=False):
    return lambda bench: quotient(
        bench, lambda: bench.rpc_time(f"layer_echo/{n}", unix)[0],
        lambda: bench.core_time(f"layer/{n}", "wall")[0], "ms", 1e3)


def socket_over_compute(n):
    return lambda bench: quotient(
        bench, lambda: bench.core_time(f"layer_socket/{n}", "wall")[0],
        lambda: bench.core_time(f"layer/{n}", "wall")[0], "ms", 1e3)


def tiny_qps(in_flight, unix=False):
    return lambda bench: quotient(
        bench, lambda: bench.rpc_time(f"tiny/{in_flight}", unix)[1],
        lambda: bench.rpc_time(f"echo/{in_flight}", unix)[1], "requests/s")


def stream_over_unary(unix=False):
    return lambda bench: quotient(
        bench, lambda: bench.rpc_time("stream/64", unix)[1],
        lambda: bench.rpc_time("tiny/64", unix)[1], "requests/s")


def server_seconds(bench, wire, server, exchange):
    """Processor time of a server in one exchange of 64 MiB both ways."""
    count = 1 if bench.quick else 4
    before = server.seconds()
    bench.clocks.add("server's CPU")
    wire.rpc.ask(exchange, count)
    return (server.seconds() - before) / count


def server_seconds_of_64mb(bench, unix=False):
    wire = bench.wires[unix]
    return server_seconds(bench, wire, wire.attention_server, "large")


def cpu_64mb(unix=False):
    def measure(bench):
        wire = bench.wires[unix]
        ours = lambda: server_seconds_of_64mb(bench, unix)
        copy = lambda: server_seconds(bench, wire, wire.echo_server, "copy")
        ours(), copy()  # connections and pages that come once
        return quotient(bench, ours, copy, "ms of CPU", 1e3)
    return measure


def cancel_p99(bench):
    trials = 10 if bench.quick else 100
    kinds = {}
    for ending in ("cancel", "deadline"):
        kinds[f"{ending} in process"] = bench.core.numbers(
            ending, "1x12x4096x64", trials, bench.run + 1)
        kinds[f"{ending} by RPC"] = bench.wires[False].rpc.numbers(
            ending, 12, 4096, trials, bench.run + 1)
    p99 = {kind: percentile(ms, 99) for kind, ms in kinds.items()}
    worst = max(p99, key=p99.get)
    row = summary(kinds[worst])
    row["value"] = p99[worst]
    row["note"] = "; ".join(f"{kind} {ms:.1f}" for kind, ms in p99.items()) + (
        f"; quartiles of {worst}")
    return row


def named(prefix, shapes):
    return [f"{prefix}/{shape}" for shape in shapes]


ROWS = {
    YARDSTICK: yardstick,
    **{f"kernel_{shape}": kernel(shape) for shape in KERNELS + CAUSAL},
    f"kernel_{STEEP}": kernel(STEEP),
    "ort_ratio_min": over_peer("onnxruntime", named("kernel", KERNELS)),
    "ort_causal_ratio_min": over_peer(
        "onnxruntime", named("kernel", CAUSAL_OVER_ORT)),
    "ort_layer_ratio_min": over_peer("onnxruntime", LAYERS),
    "torch_ratio_min": over_peer("torch", named("kernel", KERNELS + CAUSAL)),
    "torch_layer_ratio_min": over_peer("torch", LAYERS),
    "torch_debian_ratio_min": over_peer(
        "torch_debian", named("kernel", KERNELS + CAUSAL)),
    "torch_debian_layer_ratio_min": over_peer("torch_debian", LAYERS),
    "openvino_ratio_min": over_peer("openvino", named("kernel", KERNELS)),
    "tiny_us": tiny_us,
    "extra_mb_16384": extra_mb,
    "growth_16384_over_4096": growth,
    "max_error": max_error,
    "rpc_over_compute_512": rpc_over_compute(512),
    "rpc_over_compute_1024": rpc_over_compute(1024),
    "socket_over_compute_512": socket_over_compute(512),
    "socket_over_compute_1024": socket_over_compute(1024),
    "echo_over_compute_512": echo_over_compute(512),
    "echo_over_compute_1024": echo_over_compute(1024),
    "tiny_qps_64": tiny_qps(64),
    "tiny_qps_1": tiny_qps(1),
    "stream_over_unary": stream_over_unary(),
    "cpu_64mb": cpu_64mb(),
    "cancel_p99_ms": cancel_p99,
    # The same as above, over a Unix socket.
    "unix_rpc_over_compute_512": rpc_over_compute(512, unix=True),
    "unix_rpc_over_compute_1024": rpc_over_compute(1024, unix=True),
    "unix_echo_over_compute_512": echo_over_compute(512, unix=True),
    "unix_echo_over_compute_1024": echo_over_compute(1024, unix=True),
    "unix_tiny_qps_64": tiny_qps(64, unix=True),
    "unix_tiny_qps_1": tiny_qps(1, unix=True),
    "unix_stream_over_unary": stream_over_unary(unix=True),
    "unix_cpu_64mb": cpu_64mb(unix=True),
}
