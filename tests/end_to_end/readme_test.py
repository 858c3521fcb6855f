"""The README tells the truth: its commands run and print what it says.

Blocks that are fenced as `console` hold commands (after "$ ", continued as in a
shell) and what they print; a line "[...]" stands for any number of lines. They
are run in order by one shell, in an empty home directory. A block in another
language is a file, named in backticks at the end of the text before it, and is
put where the shell is.

What takes minutes or runs for ever is not run again here: see STAND_INS. The
server listens on a free port, which replaces the default one throughout.
"""

import difflib
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from server_process import running_server

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT = "50051"

# The command of the README -> what stands for it: the same program, without
# building it first or starting a server; or nothing, where this test has made
# sure of the same already.
STAND_INS = {
    "./run demo": "attention demo",
    "./run test": None,
    "./run build": None,
    # The tests of the Python package install it and run this very file.
    "python3 -m venv env && env/bin/pip install ./client/python": None,
    "env/bin/python layer.py": None,
    'attention-server 2> "$HOME/attention/server.log" &': None,
    "kill %1": None,
}

BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n"
                   r"(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"`([\w./-]+)`[^`]*$")
CUT = "[...]"


def blocks(text):
    """(language, file name or None, text) of each fenced block."""
    for block in BLOCK.finditer(text):
        named = FILE_NAME.search(block["before"])
        yield block["language"], named and named[1], block["text"]


def commands(block):
    """(command, what it prints) of a console block."""
    found = []
    open_command = False
    for line in block.splitlines():
        if line.startswith("$ ") or open_command:
            if open_command:
                found[-1][0] += "\n" + line
            else:
                found.append([line[2:], ""])
            open_command = line.endswith("\\")
        elif not found:
            raise AssertionError(f"printed by no command: {line}")
        else:
            found[-1][1] += line + "\n"
    return found


def differs(printed, expected):
    """How what was printed is not what was expected; empty if it is."""
    parts = expected.split(CUT + "\n")
    if re.fullmatch(".*".join(map(re.escape, parts)), printed, re.DOTALL):
        return ""
    return "\n".join(difflib.unified_diff(
        expected.splitlines(), printed.splitlines(), "README.md", "printed",
        lineterm=""))


class Shell:
    """One bash, to which commands are given one by one."""

    END = "-- end of what was printed, exit code"

    def __init__(self, directory, environment):
        self.bash = subprocess.Popen(
            ["/bin/bash"], cwd=directory, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bash.communicate()

    def run(self, command):
        """(what the command prints, its exit code)."""
        # The shell reads its commands from where a command would read too.
        self.bash.stdin.write(f"{{ {command}\n}} < /dev/null\n"
                              f"printf '\\n{self.END} %d\\n' $?\n")
        self.bash.stdin.flush()
        printed = []
        for line in self.bash.stdout:
            if line.startswith(self.END):
                # Without the newline before the end.
                return "".join(printed)[:-1], int(line[len(self.END):])
            printed.append(line)
        raise AssertionError(f"the shell ended: {''.join(printed)}")


class ReadmeTest(unittest.TestCase):

    def test_commands_print_what_the_readme_says(self):
        build = os.environ["ATTENTION_BUILD"]
        home = self.enterContext(
            tempfile.TemporaryDirectory(prefix="attention readme "))
        # So that the build is where the README, read from the top, has it.
        os.mkdir(os.path.join(home, "build"))
        os.symlink(build, os.path.join(home, "build", "release"))
        address, _ = self.enterContext(
            running_server(os.path.join(build, "server", "attention-server")))
        port = address.rpartition(":")[2]
        text = (ROOT / "README.md").read_text().replace(PORT, port)
        environment = {
            "PATH": f"{os.path.join(build, 'client', 'cpp')}:/usr/bin:/bin",
            "HOME": home, "LANG": "C.UTF-8", "ATTENTION_TARGET": address,
            "CXX": os.environ["CXX"], "CXXFLAGS": os.environ["CXXFLAGS"]}
        ran = 0
        with Shell(home, environment) as shell:
            for language, name, block in blocks(text):
                if language != "console":
                    self.assertIsNotNone(name, f"a file without a name: {block}")
                    path = pathlib.Path(home) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(block)
                    continue
                for command, expected in commands(block):
                    with self.subTest(command=command):
                        stand_in = STAND_INS.get(command, command)
                        if stand_in is None:
                            continue
                        printed, code = shell.run(stand_in)
                        self.assertEqual(differs(printed, expected), "", printed)
                        self.assertEqual(code, 0)
                        ran += 1
        self.assertGreater(ran, 5)

    def test_the_cpp_project_is_the_one_that_install_test_builds(self):
        readme = {name: text for language, name, text in
                  blocks((ROOT / "README.md").read_text())
                  if language in ("cpp", "cmake")}
        project = ROOT / "tests/end_to_end/install/project"
        self.assertEqual(
            {pathlib.PurePath(name).name: text for name, text in readme.items()},
            {path.name: path.read_text() for path in project.iterdir()})


class DiffersTest(unittest.TestCase):

    def test_only_what_is_cut_may_differ(self):
        expected = "a\n[...]\nz\n"
        self.assertEqual(differs("a\nb\nc\nz\n", expected), "")
        for wrong in ("b\nz\n", "a\nb\nz\ny\n", "a\nz", ""):
            with self.subTest(wrong=wrong):
                self.assertNotEqual(differs(wrong, expected), "")

    def test_commands_and_what_they_print_are_told_apart(self):
        self.assertEqual(
            commands("$ a \\\n  b\nx\n$ c\n"), [["a \\\n  b", "x\n"], ["c", ""]])


if __name__ == "__main__":
    unittest.main()
