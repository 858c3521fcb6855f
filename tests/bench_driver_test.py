"""The driver of the benchmark takes turns, and loses no row."""

import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True

import contest  # noqa: E402
import driver  # noqa: E402
import machine  # noqa: E402
import quartiles  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import workers  # noqa: E402

FLOORS = json.loads((ROOT / "bench" / "floors.json").read_text())
LOAD = {"other_processors": 0, "stolen_processors": 0, "seconds": 1,
        "busiest": ""}

# A worker that repeats what it is asked, and can be told to spin.
ECHO = """
import sys
for line in sys.stdin:
    words = line.split()
    print("error no" if words[0] == "fail" else "ok " + line.strip(), flush=True)
    while words[0] == "spin": pass
"""


class QuartilesTest(unittest.TestCase):

    def test_summary_is_median_and_quartiles(self):
        self.assertEqual(
            quartiles.summary([5, 1, 4, 2, 3]),
            {"value": 3, "q1": 2, "q3": 4, "samples": 5})
        self.assertEqual(quartiles.summary([7])["q3"], 7)

    def test_percentile_is_a_sample_that_enough_do_not_exceed(self):
        hundred = list(range(1, 101))
        self.assertEqual(quartiles.percentile(hundred, 99), 99)
        self.assertEqual(quartiles.percentile(hundred[:10], 99), 10)
        self.assertEqual(quartiles.percentile([3], 99), 3)


class RowsTest(unittest.TestCase):

    def test_every_row_is_in_the_table_and_can_be_measured(self):
        self.assertEqual({floor["id"] for floor in FLOORS}, set(rows.ROWS))

    def test_an_aim_is_not_below_its_floor(self):
        for floor in FLOORS:
            if floor["floor"] is not None:
                with self.subTest(floor["id"]):
                    self.assertTrue(report.reaches(
                        floor["aim"], floor["floor"], floor["better"]))

    def test_the_median_run_counts(self):
        runs = [{"value": value, "load": LOAD} for value in (3, 1, 2)]
        chosen = driver.over_runs(runs)
        self.assertEqual((chosen["value"], chosen["runs"]), (2, [3, 1, 2]))

    def test_a_run_without_a_value_is_not_left_out(self):
        runs = [{"value": 1}, {"error": "it broke"}, {"value": 2}]
        self.assertEqual(driver.over_runs(runs), {"error": "it broke"})

    def test_verdicts(self):
        higher = {"better": "higher", "floor": 1, "aim": 2}
        lower = {"better": "lower", "floor": 2, "aim": 1}
        for result, floor, verdict in (
            ({"value": 0.9}, higher, "open"), ({"value": 1}, higher, "floor"),
            ({"value": 2}, higher, "aim"), ({"value": 2.1}, lower, "open"),
            ({"value": 2}, lower, "floor"), ({"value": 1}, lower, "aim"),
            ({"missing": "why"}, lower, "missing"),
            ({"error": "why"}, lower, "FAILED"),
            ({"value": float("nan")}, higher, "open"),
            ({"value": float("nan")}, lower, "open")):
            with self.subTest(result=result, floor=floor):
                self.assertEqual(report.verdict(result, floor), verdict)

    def test_a_missing_peer_is_in_table_and_document(self):
        results = {
            "rows": {"ort_ratio_min": {"missing": "no network", "load": LOAD}},
            "machine": machine.description(), "blas": "", "peers": {},
            "missing": {"onnxruntime": "no network"}, "time": "", "rounds": 15,
            "runs": 1, "quick": False, "load": LOAD}
        self.assertIn("| missing |", report.table(results, FLOORS))
        self.assertIn("onnxruntime: missing: no network",
                      report.document(results, FLOORS, "plot.png"))


class TurnsTest(unittest.TestCase):

    def test_each_goes_first_as_often_as_the_others(self):
        order = []
        bench = contest.Bench.__new__(contest.Bench)
        bench.rounds = 4
        results = bench.alternate({
            name: lambda n=name: order.append(n) or len(order)
            for name in "ab"})
        self.assertEqual("".join(order), "ab" + "abba" * 2)
        self.assertEqual(results, {"a": [3, 6, 7, 10], "b": [4, 5, 8, 9]})


class WorkerTest(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.worker = workers.Worker(
            [sys.executable, "-c", ECHO],
            pathlib.Path(self.directory.name) / "log")
        self.addCleanup(self.worker.end, patience=0.5)

    def test_answers_are_words_or_errors(self):
        self.assertEqual(self.worker.ask("a", 1), "a 1")
        with self.assertRaisesRegex(workers.WorkerError, "fail: no"):
            self.worker.ask("fail")

    def test_one_that_has_ended_is_an_error(self):
        self.worker.ask("a")
        self.worker.end()
        with self.assertRaises(workers.WorkerError):
            self.worker.ask("a")

    def test_one_that_spins_takes_nothing_from_the_next(self):
        self.worker.ask("spin")
        load = machine.Load()
        before = self.worker.seconds()
        while load.report()["seconds"] < 0.5:
            pass
        self.assertLess(self.worker.seconds() - before, 0.05)


if __name__ == "__main__":
    unittest.main()
