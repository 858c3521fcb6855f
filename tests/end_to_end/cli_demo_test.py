"""`attention demo` teaches what is so: each command it prints computes what the
step shows, to the bit."""

import json
import os
import pty
import re
import subprocess
import tempfile
import unittest

import cli_examples
from cli_examples import CLI
from server_process import running_server

SERVER = os.environ["ATTENTION_SERVER"]
HEADING = re.compile(r"^\d+/\d+  .*$", re.MULTILINE)


def printed_commands(step):
    """The commands of one step of the demo's text."""
    _, _, block = step.partition("  the same from a shell\n")
    lines = []
    for line in block.splitlines():
        if not line.startswith("    "):
            break
        lines.append(line[4:])
    return "\n".join(lines)


class DemoTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.address, _ = cls.enterClassContext(running_server(SERVER))
        cls.environment = cli_examples.environment(cls.address)

    def demo(self, *flags):
        return subprocess.run(
            [CLI, "demo", *flags], check=True, text=True,
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=self.environment).stdout

    def test_every_printed_command_computes_what_the_step_shows(self):
        steps = HEADING.split(self.demo())[1:]
        examples = json.loads(self.demo("--json"))["examples"]
        self.assertEqual(len(steps), len(examples))
        self.assertGreater(len(steps), 5)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        for step, example in zip(steps, examples):
            with self.subTest(example=example["id"]):
                script = printed_commands(step)
                self.assertEqual(script, "\n".join(example["commands"]))
                # The last command computes; --json shows all that it did.
                done = cli_examples.run_in_shell(
                    script + " --json > answer.json", folder, self.address)
                self.assertEqual(done.returncode, 0, done.stderr)
                with open(os.path.join(folder, "answer.json")) as file:
                    answer = json.load(file)
                self.assertGreater(len(example["results"]), 0)
                for result in example["results"]:
                    self.assertTrue(result["as_expected"])
                    tensor = result["path"]
                    self.assertEqual(
                        answer[tensor], example["response"][tensor])

    def test_each_step_tells_formula_numbers_picture_and_command(self):
        for step in HEADING.split(self.demo())[1:]:
            with self.subTest(step=step.splitlines()[1]):
                self.assertRegex(step, r"(?m)^    .* = ")
                self.assertIn("as expected\n", step)
                self.assertIn("attention compute", printed_commands(step))
        self.assertIn("query down, key across", self.demo())

    def test_commands_meet_the_server_that_was_named(self):
        environment = cli_examples.environment("127.0.0.1:1")
        text = subprocess.run(
            [CLI, "demo", "--target", self.address], check=True, text=True,
            stdout=subprocess.PIPE, env=environment).stdout
        self.assertEqual(
            printed_commands(text).splitlines()[0],
            f"export ATTENTION_TARGET={self.address}")
        self.assertNotIn("export", self.demo())

    def test_a_pipe_has_no_pause_and_no_colour(self):
        text = self.demo("--pause")
        self.assertEqual(text, self.demo())
        self.assertNotIn("\x1b", text)

    def test_all_numbers_are_counted(self):
        report = json.loads(self.demo("--json"))
        self.assertEqual(report["off"], [])
        self.assertTrue(self.demo().endswith(
            f"All {report['numbers']} numbers of {len(report['examples'])} "
            "examples are as expected.\n"))

    def test_a_terminal_waits_for_enter_and_has_colours(self):
        terminal, end = pty.openpty()
        process = subprocess.Popen(
            [CLI, "demo", "--pause"], stdin=end, stdout=end,
            env={**self.environment, "TERM": "xterm-256color", "NO_COLOR": ""})
        os.close(end)
        shown = ""
        for number in range(2, 10):
            while not shown.endswith("-- Enter goes on --"):
                shown += os.read(terminal, 1 << 16).decode()
            self.assertNotIn(f"{number}/9", shown)
            os.write(terminal, b"\n")
            while f"{number}/9" not in shown:
                shown += os.read(terminal, 1 << 16).decode()
        while "as expected.\r\n" not in shown:
            shown += os.read(terminal, 1 << 16).decode()
        self.assertEqual(process.wait(), 0)
        os.close(terminal)
        self.assertIn("\x1b[48;5;", shown)


if __name__ == "__main__":
    unittest.main()
