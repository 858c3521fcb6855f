"""Speed: each row of bench/floors.json against its floor, and a search for
inputs at which the fused kernel is wrong."""

import json
import pathlib
import subprocess
import tempfile

QUICK = ("3 short rounds of each benchmark, which mean little, instead of 3 "
         "runs of 15; 2,000 fuzzed cases instead of 100,000")

# A row is met when the median of so many runs meets it.
RUNS = "3"

CASES, QUICK_CASES = 100_000, 2_000
FOUND_WITHIN_SECONDS = 60
# Off by one each; kernel_fuzz says what they are.
PLANTED = ("causal_one_too_far", "last_key_left_out", "window_one_too_wide",
           "tile_edge_skipped")

# Where a row has no value: no claim about it holds.
NOTHING = float("nan")


def prove(context):
    prove_rows(context)
    prove_fuzz(context)


def prove_rows(context):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "results.json"
        # Rows that could not be measured are told as such below.
        subprocess.run(
            [context.root / "run", "bench", "--json", path]
            + (["--quick"] if context.quick else ["--runs", RUNS]),
            check=False, stdout=subprocess.DEVNULL)
        results = (json.loads(path.read_text()) if path.exists() else
                   {"rows": {}, "floors": json.loads(
                       (context.root / "bench/floors.json").read_text())})
    for floor in results["floors"]:
        if floor["floor"] is not None:
            add_row(context.claims, floor, results["rows"].get(floor["id"], {}))


def add_row(claims, floor, row):
    if "value" not in row:
        why = next((f"{word}: {row[word]}" for word in ("missing", "error")
                    if word in row), "not measured")
        claims.add(f"fast.{floor['id']}", f"{floor['what']}; {why}", NOTHING,
                   floor["floor"], False)
        return
    hold = claims.at_least if floor["better"] == "higher" else claims.at_most
    bound = "at least" if floor["better"] == "higher" else "at most"
    hold(f"fast.{floor['id']}",
         f"{floor['what']}; quartiles {row['q1']:.3g} - {row['q3']:.3g}, floor "
         f"({bound}) {floor['floor']:g}, aim {floor['aim']:g}; other programs "
         f"took {row['load']['other_processors']:.2f} processors",
         row["value"], floor["floor"])


def prove_fuzz(context):
    subprocess.run(["ninja", "-C", context.build, "kernel_fuzz"], check=True,
                   stdout=subprocess.DEVNULL)
    cases = QUICK_CASES if context.quick else CASES
    done = fuzz(context, "--cases", cases)
    context.claims.add(
        "fast.fuzz_cases",
        "random computations in which the fused kernel keeps the reference's "
        f"bound: {done['elements']} elements, {done['findings']} findings, "
        f"{done['seconds']:.0f} s",
        done["cases"] - done["findings"], cases,
        done["findings"] == 0 and done["cases"] >= cases)
    for mistake in PLANTED:
        found = fuzz(context, "--plant", mistake)
        context.claims.add(
            f"fast.fuzz_finds_planted.{mistake}",
            f"seconds until it finds a planted mistake, {found['cases']} cases",
            found["seconds"], FOUND_WITHIN_SECONDS,
            found["findings"] > 0
            and found["seconds"] <= FOUND_WITHIN_SECONDS)


def fuzz(context, *arguments):
    """The last line of kernel_fuzz; what it found goes before it."""
    result = subprocess.run(
        [context.build / "tests" / "kernel_fuzz", *map(str, arguments)],
        check=False, stdout=subprocess.PIPE, text=True)
    lines = result.stdout.splitlines()
    if "--plant" not in arguments and len(lines) > 1:
        print("\n".join(lines[:-1]), flush=True)
    return json.loads(lines[-1])
