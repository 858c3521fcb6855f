"""Two builds of this project in turns: how much faster one is, and how surely.

    ./run bench --against BUILD_DIR

A ratio is the other build's time over this one's, of one round: above 1 this
build is faster. Of the rounds it tells the median, and the interval in which the
true median lies with 95 % of certainty, whatever the distribution.
"""

import math
import statistics

import rows
from quartiles import median_interval
from workers import WorkerError

# Fewer leave an interval too wide to judge a change by.
ROUNDS = 30

PROJECTIONS = [f"projection/{layout}/{n}x{width}/strips"
               for layout in ("out_in", "in_out")
               for width in (768, 1024, 4096) for n in (200, 512, 1024)]


def over_a_socket(prefix, unix):
    return {
        **{f"{prefix}rpc_layer_{n}":
           lambda bench, n=n: bench.client_time(f"layer/{n}", unix)[0]
           for n in (512, 1024)},
        **{f"{prefix}tiny_qps_{n}":
           lambda bench, n=n: bench.rpc_time(f"tiny/{n}", unix)[0]
           for n in (64, 1)},
        f"{prefix}stream_qps_64":
            lambda bench: bench.rpc_time("stream/64", unix)[0],
        f"{prefix}cpu_64mb":
            lambda bench: rows.server_seconds_of_64mb(bench, unix),
    }


# Row -> what it takes one build, less is better.
QUANTITIES = {
    **{f"kernel_{shape}": lambda bench, s=shape: bench.core_time(f"kernel/{s}")[0]
       for shape in rows.KERNELS + rows.CAUSAL},
    **{case.replace("/", "_"): lambda bench, c=case: bench.core_time(c)[0]
       for case in rows.LAYERS + PROJECTIONS},
    "tiny_us": lambda bench: bench.core_time("tiny")[0],
    **over_a_socket("", unix=False),
    **over_a_socket("unix_", unix=True),
}


def measure_row(ours, theirs, row):
    """The ratio of one row, from alternating rounds."""
    quantity = QUANTITIES[row]
    ours.clocks.clear()
    try:
        took = ours.alternate({"ours": lambda: quantity(ours),
                               "theirs": lambda: quantity(theirs)})
    except WorkerError as error:
        return {"error": str(error)}
    ratios = rows.ratios(took["theirs"], took["ours"])
    low, high = median_interval(ratios)
    return {"ratio": statistics.median(ratios), "low": low, "high": high,
            "rounds": len(ratios), "clock": "/".join(sorted(ours.clocks)),
            "ours": statistics.median(took["ours"]),
            "theirs": statistics.median(took["theirs"])}


def verdict(result):
    if result["low"] > 1:
        return "faster"
    return "slower" if result["high"] < 1 else "no difference seen"


def line(row, result):
    if "error" in result:
        return f"| `{row}` | FAILED: {result['error']} | | | | |"
    return (f"| `{row}` ({result['clock']}) | {result['ratio']:.3f} | {result['low']:.3f} - "
            f"{result['high']:.3f} | {result['ours']:.3g} | "
            f"{result['theirs']:.3g} | {verdict(result)} |")


HEAD = ("| row (clock) | ratio | 95 % interval | s, this build | s, the other | this "
        "build is |\n|---|---|---|---|---|---|")


def geometric_mean(results):
    """Of the ratios that could be measured; 1 if none could."""
    logs = [math.log(result["ratio"]) for result in results.values()
            if "ratio" in result]
    return math.exp(sum(logs) / max(len(logs), 1))
