"""The driver of the benchmark takes turns, and loses no row."""

import contextlib
import io
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
sys.dont_write_bytecode = True

import against  # noqa: E402
import contest  # noqa: E402
import driver  # noqa: E402
import floors  # noqa: E402
import loopback  # noqa: E402
import machine  # noqa: E402
import quartiles  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import workers  # noqa: E402

FLOORS = floors.on("AVX2")
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


    def test_the_interval_of_a_median_is_where_it_is_so_often(self):
        # Ranks 10 and 21 of 30: tables of the sign test have them.
        self.assertEqual(
            quartiles.median_interval(range(1, 31)), (10, 21))
        self.assertEqual(quartiles.median_interval([3, 1, 2]), (1, 3))
        self.assertEqual(quartiles.median_interval([7]), (7, 7))
        dice = random.Random(1)
        inside = 0
        for _ in range(1000):
            low, high = quartiles.median_interval(
                [dice.expovariate(1) for _ in range(30)])
            inside += low <= 0.6931 <= high  # ln 2, the median
        # 957 are expected, with a standard deviation of 6.4.
        self.assertGreater(inside, 957 - 4 * 6.4)
        self.assertLess(inside, 957 + 4 * 6.4)


class RowsTest(unittest.TestCase):

    def test_floors_differ_by_instruction_set_for_a_reason(self):
        def floor(target):
            return next(row for row in floors.on(target)
                        if row["id"] == "rpc_over_compute_512")
        self.assertEqual(floor("AVX2")["floor"], 1.12)
        self.assertNotIn("because", floor("AVX2"))
        self.assertEqual(floor("AVX3")["floor"], 1.16)
        self.assertNotIn("on", floor("AVX3"))
        self.assertIn("socket", floor("AVX3")["because"])

    def test_every_row_is_in_the_table_and_can_be_measured(self):
        self.assertEqual({floor["id"] for floor in FLOORS}, set(rows.ROWS))

    def test_an_aim_is_not_below_its_floor(self):
        for floor in FLOORS:
            if floor["floor"] is not None:
                with self.subTest(floor["id"]):
                    self.assertTrue(report.reaches(
                        floor["aim"], floor["floor"], floor["better"]))

    def test_a_row_over_a_unix_socket_stands_behind_that_over_tcp(self):
        of_unix = [place for place, floor in enumerate(FLOORS)
                   if floor["id"].startswith("unix_")]
        self.assertEqual(len(of_unix), 8)
        for place in of_unix:
            row, tcp = FLOORS[place], FLOORS[place - 1]
            with self.subTest(row["id"]):
                self.assertEqual(row["id"], f"unix_{tcp['id']}")
                self.assertEqual(row["better"], tcp["better"])
                self.assertIn("over a Unix socket", row["what"])
                self.assertIsNone(row["floor"])
        for row in against.QUANTITIES:
            if "rpc" in row or "qps" in row or "64mb" in row:
                twin = row.removeprefix("unix_") if row.startswith(
                    "unix_") else f"unix_{row}"
                self.assertIn(twin, against.QUANTITIES)

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
        results = some_results() | {
            "rows": {"ort_ratio_min": {"missing": "no network", "load": LOAD}},
            "missing": {"onnxruntime": "no network"}}
        self.assertIn("| missing |", report.table(results))
        self.assertIn("onnxruntime: missing: no network",
                      report.section(results, "plot.png"))

    def test_processor_time_is_told_at_the_row(self):
        results = some_results()
        results["rows"]["tiny_us"]["clock"] = "process CPU time"
        self.assertIn("in process, us (in process CPU time) |",
                      report.table(results))


def some_results():
    return {
        "rows": {"tiny_us": {"value": 1, "q1": 1, "q3": 1, "load": LOAD}},
        "floors": FLOORS, "yardstick_holds": True, "vector_target": "AVX2",
        "blas_kernel": "Zen", "blas": "",
        "machine": machine.description() | {"loopback": "cubic"},
        "peers": {}, "missing": {}, "time": "", "rounds": 15, "runs": 1,
        "quick": False, "load": LOAD}


class DocumentTest(unittest.TestCase):

    def test_a_section_takes_the_place_of_its_own_processor_only(self):
        document = ""
        for slug, text in (("b-1", "old of b"), ("b-12", "of another"),
                           ("b-1", "new of b \\1")):
            document = report.with_section(document, slug, text)
        self.assertTrue(document.startswith(report.HEAD))
        self.assertNotIn("old", document)
        self.assertLess(document.index("new of b \\1"),
                        document.index("of another"))
        self.assertEqual(document.count("<!-- b-1 -->"), 1)

    def test_the_head_names_instruction_set_and_kernel(self):
        head, _, _ = report.section(some_results(), "plot.png").partition("\n")
        self.assertRegex(head, r"^## .* family .* model .*, AVX2, OpenBLAS's "
                         "Zen kernel$")
        self.assertTrue(report.slug_of(some_results()).endswith("-avx2-zen"))

    def test_a_yardstick_below_its_floor_is_marked(self):
        self.assertEqual(report.warning(some_results()), "")
        low = some_results() | {"yardstick_holds": False}
        self.assertIn("fractions of it mean nothing", report.warning(low))
        self.assertIn("fractions of it mean nothing",
                      report.section(low, "plot.png"))


class DriverTest(unittest.TestCase):

    def setUp(self):
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "bench").mkdir()
        self.enterContext(unittest.mock.patch.object(
            driver, "HERE", self.folder / "bench"))
        self.said = self.enterContext(
            contextlib.redirect_stderr(io.StringIO()))
        self.printed = self.enterContext(
            contextlib.redirect_stdout(io.StringIO()))

    def run_with(self, results, *flags):
        with unittest.mock.patch.object(
                driver, "measure", return_value=results), \
                unittest.mock.patch.object(report, "draw"):
            return driver.main(["--build", "x", *flags])

    def test_only_a_yardstick_that_holds_is_published(self):
        low = some_results() | {"yardstick_holds": False}
        document = self.folder / "bench" / "RESULTS.md"
        self.assertEqual(self.run_with(low, "--publish"), 1)
        self.assertIn("nothing is published", self.said.getvalue())
        self.assertIn("fractions of it mean nothing", self.printed.getvalue())
        self.assertFalse(document.exists())
        self.assertEqual(self.run_with(some_results(), "--publish"), 0)
        self.assertIn("AVX2", document.read_text())

    def test_what_is_measured_otherwise_is_not_published(self):
        for flags in (["--publish", "--cpu-time"], ["--publish", "--quick"],
                      ["--publish", "--rows", "tiny_us"],
                      ["--publish", "--against", "y"],
                      ["--against", "y", "--rounds", "29"],
                      ["--against", "y", "--rows", "max_error"]):
            with self.subTest(flags), self.assertRaises(SystemExit) as ended:
                driver.main(["--build", "x", *flags])
            self.assertEqual(ended.exception.code, 2)


class FakeBench:
    """A build whose every benchmark takes so many seconds."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.rounds = against.ROUNDS
        self.clocks = set()

    def core_time(self, name):
        if self.seconds is None:
            raise workers.WorkerError(f"no benchmark {name}")
        self.clocks.add("wall")
        return self.seconds, 1 / self.seconds

    alternate = contest.Bench.alternate


class AgainstTest(unittest.TestCase):

    def test_twice_as_fast_is_a_ratio_of_two(self):
        result = against.measure_row(FakeBench(0.1), FakeBench(0.2), "tiny_us")
        self.assertEqual((result["ratio"], result["low"], result["high"]),
                         (2, 2, 2))
        self.assertEqual(result["rounds"], 30)
        self.assertTrue(against.line("tiny_us", result).endswith("| faster |"))

    def test_an_interval_around_one_is_no_difference(self):
        for low, high, word in ((0.9, 1.1, "no difference seen"),
                                (1.01, 1.1, "faster"), (0.9, 0.99, "slower")):
            self.assertEqual(against.verdict({"low": low, "high": high}), word)

    def test_what_the_other_build_lacks_is_told(self):
        result = against.measure_row(FakeBench(0.1), FakeBench(None), "tiny_us")
        self.assertIn("FAILED: no benchmark tiny",
                      against.line("tiny_us", result))


class ClockTest(unittest.TestCase):

    def time(self, cores, name, cpu_time, clock=None, answer=(2.0, 10.0, 1.0)):
        bench = contest.Bench.__new__(contest.Bench)
        bench.cores, bench._cpu_time, bench.clocks = cores, cpu_time, set()
        bench.seconds = 0
        bench.core = unittest.mock.Mock()
        bench.core.numbers.return_value = list(answer)
        return bench.core_time(name, clock), bench.clocks

    def test_processor_time_is_of_one_thread_only(self):
        wall, cpu = (2.0, 10.0), (1.0, 20.0)
        for cores, name, cpu_time, expected, clock in (
            (2, "tiny", False, wall, "wall"), (2, "tiny", True, cpu, "CPU"),
            (2, "layer/512", True, wall, "wall"),
            (1, "layer/512", True, cpu, "CPU")):
            with self.subTest(cores=cores, name=name, cpu_time=cpu_time):
                self.assertEqual(self.time(cores, name, cpu_time),
                                 (expected, {clock}))

    def test_what_is_compared_with_a_socket_is_timed_by_the_clock(self):
        self.assertEqual(self.time(1, "layer/512", True, "wall"),
                         ((2.0, 10.0), {"wall"}))

    def test_a_build_that_does_not_tell_it_is_an_error(self):
        with self.assertRaisesRegex(workers.WorkerError, "CPU time"):
            self.time(1, "layer/512", True, answer=[2.0, 10.0])


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


class LoopbackTest(unittest.TestCase):
    """With a machine that is not this one."""

    ROUTE = "local 127.0.0.1 dev lo proto kernel scope host"

    def machine(self, paced_by, route=ROUTE, refuses=False):
        """Its routes are changed in self.changed; self.said has what is said."""
        self.changed, self.said = [], []
        self.paced_by = paced_by

        def ip(*words):
            if words[1] == "show":
                return route + "\n"
            if refuses:
                raise subprocess.CalledProcessError(2, "ip", "", "not permitted")
            self.changed.append(" ".join(words))
            self.paced_by = ("cubic" if words[-2:] == ("congctl", "cubic")
                             else paced_by)
            return ""

        for name, value in (("ip", ip), ("in_force", lambda: self.paced_by)):
            self.enterContext(unittest.mock.patch.object(loopback, name, value))

    def test_cubic_is_set_for_the_run_and_taken_back(self):
        self.machine("bbr")
        with self.assertRaises(KeyboardInterrupt):
            with loopback.paced_by_cubic(self.said.append) as paced:
                self.assertIn("cubic, by a route", paced)
                self.assertEqual(self.paced_by, "cubic")
                raise KeyboardInterrupt
        change = f"route change table local {self.ROUTE}"
        self.assertEqual(self.changed, [f"{change} congctl cubic", change])
        self.assertEqual(self.said, [])

    def test_a_machine_that_has_cubic_is_left_alone(self):
        self.machine("cubic", refuses=True)
        with loopback.paced_by_cubic(self.said.append) as paced:
            self.assertEqual(paced, "cubic, as the machine has it")
        self.assertEqual((self.changed, self.said), ([], []))

    def test_who_may_not_set_it_is_told_the_command(self):
        self.machine("bbr", refuses=True)
        with loopback.paced_by_cubic(self.said.append) as paced:
            self.assertEqual(paced, "bbr, as the machine has it")
        self.assertEqual(len(self.said), 1)
        self.assertIn("not permitted", self.said[0])
        self.assertIn(f"ip route change table local {self.ROUTE} congctl cubic",
                      self.said[0])

    def test_what_a_route_says_already_gives_way_and_comes_back(self):
        for said in ("congctl bbr", "congctl lock bbr"):
            self.machine("bbr", route=f"{self.ROUTE} {said} mtu 9000")
            with loopback.paced_by_cubic(self.said.append):
                pass
            self.assertEqual(self.changed, [
                f"route change table local {self.ROUTE} mtu 9000 congctl cubic",
                f"route change table local {self.ROUTE} {said} mtu 9000"])

    def test_this_machine_tells_what_it_uses(self):
        allowed = pathlib.Path(
            "/proc/sys/net/ipv4/tcp_available_congestion_control").read_text()
        self.assertIn(loopback.in_force(), allowed.split())


class ServerTest(unittest.TestCase):

    def test_each_is_known_by_its_own_port_for_good(self):
        with tempfile.TemporaryDirectory() as folder:
            port = pathlib.Path(folder) / "port"
            server = workers.TcpServer(
                ["/bin/sh", "-c", f"echo 1 > '{port}'; exec sleep 600"],
                pathlib.Path(folder) / "log", port)
            self.addCleanup(server.end, patience=0.5)
            self.assertEqual(server.target(), "127.0.0.1:1")
            port.write_text("2")  # as another's with the same file would
            self.assertEqual(server.target(), "127.0.0.1:1")

    def test_a_unix_socket_is_known_once_it_is_there(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "socket"
            path.write_text("")  # one that has ended may leave a file
            server = workers.UnixServer(
                [sys.executable, "-c", "import socket, sys\n"
                 f"socket.socket(socket.AF_UNIX).bind({str(path)!r})\n"
                 "sys.stdin.read()"],
                pathlib.Path(folder) / "log", path, stdin=subprocess.PIPE)
            self.addCleanup(server.end, patience=0.5)
            self.assertEqual(server.target(), f"unix:{path}")


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
