"""docs/limits.md has every limit of the server, with the default that is real.

ATTENTION_SERVER is the program.
"""

import os
import pathlib
import re
import subprocess
import unittest

SERVER = os.environ["ATTENTION_SERVER"]
TABLE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "limits.md"

# Settings that limit nothing.
OTHERS = {"listen", "insecure", "tls-cert", "tls-key", "tls-client-ca",
          "port-file", "store", "threads", "log-level"}

UNITS = {"": 1, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def number(text):
    """A default as the table has it: 1,024, 64 KiB or 60 s."""
    match = re.fullmatch(r"([\d,.]+) ?(\w*)", text)
    return float(match[1].replace(",", "")) * UNITS[match[2]]


def table(text):
    """Flag -> the other cells of its row."""
    rows = re.findall(r"(?m)^\| `--([\w-]+)` \|(.*)\|$", text)
    return {flag: [cell.strip() for cell in cells.split(" | ")]
            for flag, cells in rows}


def settings():
    """Flag -> default, as the server prints them."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("ATTENTION_")}
    printed = subprocess.run([SERVER, "--print-config"], check=True, text=True,
                             stdout=subprocess.PIPE, env=environment).stdout
    return dict(re.findall(r"(?m)^([\w-]+)=(.*)$", printed))


class LimitsTableTest(unittest.TestCase):

    def test_every_limit_is_told_with_its_default(self):
        rows, real = table(TABLE.read_text()), settings()
        self.assertEqual(set(rows), set(real) - OTHERS)
        self.assertLessEqual(OTHERS, set(real))
        for flag, cells in rows.items():
            with self.subTest(flag=flag):
                self.assertEqual(number(cells[0]), float(real[flag]))

    def test_every_limit_has_a_reason_and_says_what_a_client_sees(self):
        for flag, cells in table(TABLE.read_text()).items():
            with self.subTest(flag=flag):
                self.assertEqual(len(cells), 3)
                self.assertTrue(all(cells))

    def test_the_table_is_read_as_it_is_written(self):
        self.assertEqual(table("| `--a-b` | 64 KiB | why | seen |\nno row\n"),
                         {"a-b": ["64 KiB", "why", "seen"]})
        self.assertEqual(number("64 KiB"), 65536)
        self.assertEqual(number("1,024"), 1024)
        self.assertEqual(number("60 s"), 60)


if __name__ == "__main__":
    unittest.main()
