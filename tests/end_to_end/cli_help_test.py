"""--help, man pages and completion: each command explains itself, its examples
run, and shells complete what is typed."""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest

import cli_examples
from cli_examples import CLI, commands, leaves, read_tree
from server_process import PATIENCE, running_server

SERVER = os.environ["ATTENTION_SERVER"]
GENERATED = pathlib.Path(CLI).parent / "generated"
SERVER_GENERATED = pathlib.Path(SERVER).parent / "generated" / "reference"
WIDTH = 80


def gaps(tree):
    """What a command line fails to explain."""
    found = []
    for command in commands(tree):
        name = " ".join(command["path"])
        if not command["summary"] or "\n" in command["summary"]:
            found.append(f"{name}: no summary of one line")
        for flag in command["flags"] + command["positionals"]:
            if not flag["description"]:
                found.append(f"{name} {flag['names'][-1]}: no description")
        if not command["examples"]:
            found.append(f"{name}: no examples")
        elif not any(re.search(rf"\b{name}\b".replace(" ", r"\b.*\b"), example)
                     for example in command["examples"]):
            found.append(f"{name}: no example of itself")
    return found


def without_json(tree):
    """Commands whose result cannot be had as JSON, or without an example."""
    return [" ".join(command["path"]) for command in leaves(tree)
            if not any("--json" in flag["names"] for flag in command["flags"])
            or not json_examples(command)]


def json_examples(command):
    """Examples that print JSON, and nothing else, on the standard output."""
    return [example for example in command["examples"]
            if "--json" in example and not re.search("[|>;]", example)]


class TreeTest(unittest.TestCase):

    def setUp(self):
        self.tree = read_tree(CLI, "generate", "json")

    def test_every_command_and_flag_explains_itself(self):
        self.assertGreater(len(list(commands(self.tree))), 10)
        self.assertEqual(gaps(self.tree), [])
        self.assertEqual(gaps(read_tree(SERVER, "--generate", "json")), [])

    def test_every_command_has_json(self):
        self.assertEqual(without_json(self.tree), [])

    def test_a_gap_is_found(self):
        flag = {"names": ["--x"], "description": ""}
        command = {"path": ["a", "b"], "summary": "s", "examples": ["a b --x"],
                   "flags": [], "positionals": [], "commands": []}
        self.assertEqual(gaps(command), [])
        for planted in ({"summary": ""}, {"examples": []}, {"flags": [flag]},
                        {"positionals": [flag]}, {"examples": ["a c"]}):
            with self.subTest(planted=planted):
                self.assertEqual(len(gaps({**command, **planted})), 1)
        self.assertEqual(without_json(command), ["a b"])
        self.assertEqual(without_json({
            **command, "flags": [{"names": ["--json"]}],
            "examples": ["a b --json > x"]}), ["a b"])

    def test_help_fits_a_terminal_and_names_every_flag(self):
        for command in commands(self.tree):
            with self.subTest(command=command["path"]):
                self.check_help([CLI, *command["path"][1:]], command)
        self.check_help([SERVER], read_tree(SERVER, "--generate", "json"))

    def check_help(self, program, command):
        printed = subprocess.run([*program, "--help"], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout
        self.assertIn(f"Usage: {command['usage']}", printed)
        for line in printed.splitlines():
            self.assertLessEqual(len(line), WIDTH, line)
        for flag in command["flags"]:
            for name in flag["names"]:
                self.assertRegex(printed, rf"(?m)^  .*{name}\b")
        if program[0] == CLI:
            self.assertIn("--target", printed)


class ExamplesTest(unittest.TestCase):

    def test_every_example_runs(self):
        tree = read_tree(CLI, "generate", "json")
        address, _ = self.enterContext(running_server(SERVER))
        folder = self.enterContext(tempfile.TemporaryDirectory())
        cli_examples.write_files(folder)
        for command in commands(tree):
            for example in command["examples"]:
                with self.subTest(example=example):
                    script = example.replace(
                        cli_examples.DEFAULT_TARGET, address)
                    setup = cli_examples.run_in_shell(
                        cli_examples.SETUP, folder, address)
                    self.assertEqual(setup.returncode, 0, setup.stderr)
                    done = cli_examples.run_in_shell(script, folder, address)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    if example in json_examples(command):
                        json.loads(done.stdout)

    def test_the_servers_examples_are_understood(self):
        for example in read_tree(SERVER, "--generate", "json")["examples"]:
            with self.subTest(example=example):
                words = example.split()
                subprocess.run([SERVER, *words[1:], "--print-config"],
                               check=True, stdout=subprocess.DEVNULL)


class ManTest(unittest.TestCase):

    def pages(self):
        return [*sorted((GENERATED / "man").iterdir()),
                SERVER_GENERATED / "attention-server.1"]

    def test_each_command_has_a_page(self):
        self.assertEqual(
            {page.name for page in self.pages()},
            {"-".join(command["path"]) + ".1"
             for command in commands(read_tree(CLI, "generate", "json"))}
            | {"attention-server.1"})

    def test_two_formatters_have_nothing_to_say(self):
        for page in self.pages():
            with self.subTest(page=page.name):
                for check in (["mandoc", "-T", "lint", "-W", "warning", page],
                              ["man", "--warnings", "-l", page]):
                    done = subprocess.run(
                        check, text=True, capture_output=True,
                        env={**os.environ, "MANROFFOPT": "", "LC_ALL": "C.UTF-8"})
                    said = done.stdout if check[0] == "mandoc" else ""
                    # Two builds of one version are the same, so no date.
                    self.assertEqual(
                        [line for line in (said + done.stderr).splitlines()
                         if "WARNING: missing date" not in line], [])

    def test_a_page_shows_what_help_shows(self):
        for command in commands(read_tree(CLI, "generate", "json")):
            page = GENERATED / "man" / ("-".join(command["path"]) + ".1")
            shown = subprocess.run(
                ["mandoc", "-T", "ascii", "-O", "width=1000", page], check=True,
                text=True, stdout=subprocess.PIPE).stdout
            shown = re.sub(".\b", "", shown)
            with self.subTest(page=page.name):
                for heading in ("NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES",
                                "EXIT CODES", "ENVIRONMENT", "SEE ALSO"):
                    self.assertRegex(shown, f"(?m)^{heading}$")
                for flag in command["flags"]:
                    self.assertIn(flag["names"][-1], shown)
                    self.assertIn(flag["description"], shown)


class Terminal:
    """An interactive shell on a terminal, where `attention` and
    attention-server only print what they are given."""

    def __init__(self, test, shell, setup):
        folder = pathlib.Path(
            test.enterContext(tempfile.TemporaryDirectory()))
        for name in ("attention", "attention-server"):
            program = folder / name
            program.write_text('#!/bin/sh\nprintf "ran:"; printf "[%s]" "$@"; '
                               'echo ":end"\n')
            program.chmod(0o755)
        (folder / "tokens.csv").write_text("1\n")
        (folder / "my folder").mkdir()
        self.test = test
        self.terminal, end = pty.openpty()
        self.shell = subprocess.Popen(
            shell, cwd=folder, stdin=end, stdout=end, stderr=end,
            start_new_session=True,
            env={"PATH": f"{folder}:/usr/bin:/bin", "TERM": "xterm",
                 "HOME": str(folder), "LC_ALL": "C.UTF-8"})
        os.close(end)
        test.addCleanup(self.close)
        self.type(setup + "\nattention ready\n")
        self.test.assertEqual(self.what_ran(), ["ready"])

    def close(self):
        self.shell.kill()
        self.shell.wait()
        os.close(self.terminal)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def what_ran(self):
        """The arguments of the program that was run."""
        shown = ""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 1)[0]:
                shown += os.read(self.terminal, 1 << 16).decode(errors="replace")
            ran = re.search(r"ran:((?:\[[^]]*\])*):end", shown)
            if ran:
                return re.findall(r"\[([^]]*)\]", ran[1])
        raise AssertionError(f"nothing ran:\n{shown}")


# What is typed, and what runs then.
TYPED = (
    ("attention comp\t--cau\t", ["compute", "--causal"]),
    ("attention weights in\t", ["weights", "init"]),
    ("attention compute --query tok\t", ["compute", "--query", "tokens.csv"]),
    ("attention compute --query=tok\t", ["compute", "--query=tokens.csv"]),
    ("attention compute --dtype bf\t", ["compute", "--dtype", "bfloat16"]),
    ("attention bench --format=c\t", ["bench", "--format=csv"]),
    ("attention compute --targ\tx", ["compute", "--target", "x"]),
    # The value of a flag is no command.
    ("attention --target compute weights li\t",
     ["--target", "compute", "weights", "list"]),
    ("attention-server --log-level de\t", ["--log-level", "debug"]),
    ("attention-server --port-file tok\t", ["--port-file", "tokens.csv"]),
)


class CompletionTest(unittest.TestCase):

    def check(self, terminal):
        for typed, expected in TYPED:
            with self.subTest(typed=typed):
                terminal.type(typed + "\n")
                # After a flag that takes a value, zsh puts a = for a blank.
                self.assertEqual(
                    " ".join(terminal.what_ran()).replace("=", " "),
                    " ".join(expected).replace("=", " "))

    def test_bash_completes(self):
        self.check(Terminal(
            self, ["/bin/bash", "--norc", "--noprofile", "-i"],
            f"source '{GENERATED}/attention'; "
            f"source '{SERVER_GENERATED}/attention-server'"))

    def test_zsh_completes(self):
        self.assertIsNotNone(shutil.which("zsh"), "scripts/packages.txt has it")
        self.check(Terminal(
            self, ["zsh", "-f", "-i"],
            f"fpath=('{GENERATED}' '{SERVER_GENERATED}' $fpath); "
            "autoload -Uz compinit; compinit -u -D"))

    def offered(self, *words):
        """What bash offers for the last of `words`."""
        script = (f"source '{GENERATED}/attention'\n"
                  'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _attention\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        return subprocess.run(
            ["/bin/bash", "-c", script, "bash", *words], check=True, text=True,
            stdout=subprocess.PIPE).stdout.split()

    def test_bash_offers_what_the_tree_has(self):
        tree = read_tree(CLI, "generate", "json")
        inherited = {name for flag in tree["flags"] for name in flag["names"]}
        for command in commands(tree):
            with self.subTest(command=command["path"]):
                flags = {name for flag in command["flags"]
                         for name in flag["names"]}
                self.assertEqual(set(self.offered(*command["path"], "-")),
                                 flags | (inherited - {"--version"} | (
                                     {"--version"} & flags)))
                if command["commands"]:
                    self.assertEqual(
                        self.offered(*command["path"], ""),
                        [below["path"][-1] for below in command["commands"]])
                for flag in command["flags"]:
                    if flag["kind"] == "choice":
                        self.assertEqual(
                            self.offered(*command["path"], flag["names"][0], ""),
                            flag["choices"])


if __name__ == "__main__":
    unittest.main()
