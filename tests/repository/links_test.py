"""What the documents point at exists."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = {"node_modules", "build", ".git"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A file of this repository named in prose or a comment.
NAMED = re.compile(r"\b((?:bench|client|docs|proto|scripts|server|tests)/"
                   r"[\w./-]+\.(?:md|h|cc|py|sh|proto|txt|json|mjs|js))\b")


def anchors(text):
    """The names GitHub gives to the headings of a Markdown text."""
    for heading in re.findall(r"^#+\s+(.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def broken_links(path, text):
    """Links of the Markdown text of the file `path` that lead nowhere."""
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            yield f"{path.relative_to(ROOT)}: {target}"
        elif anchor and file.suffix == ".md":
            if anchor not in set(anchors(file.read_text() if name else text)):
                yield f"{path.relative_to(ROOT)}: {target}"


def project_files(*suffixes):
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in suffixes and path.is_file():
            if not SKIPPED & set(path.relative_to(ROOT).parts):
                yield path


class LinksTest(unittest.TestCase):

    def test_links_of_documents_lead_somewhere(self):
        found = []
        for path in project_files(".md"):
            found += broken_links(path, path.read_text())
        self.assertEqual(found, [])

    def test_files_named_in_documents_and_headers_exist(self):
        found = []
        for path in project_files(".md", ".h", ".proto"):
            for name in NAMED.findall(path.read_text()):
                if not (ROOT / name).exists():
                    found.append(f"{path.relative_to(ROOT)}: {name}")
        self.assertEqual(found, [])

    def test_a_broken_link_is_caught(self):
        path = ROOT / "README.md"
        for text in ("[a](docs/none.md)", "# A\n[a](#b)"):
            with self.subTest(text=text):
                self.assertNotEqual(list(broken_links(path, text)), [])
        self.assertEqual(list(broken_links(path, "# A b\n[a](#a-b)")), [])

    def test_commands_of_the_readme_exist(self):
        readme = (ROOT / "README.md").read_text()
        commands = set(re.findall(r"^\s*\$? ?\./run (\w+)", readme, re.MULTILINE))
        self.assertTrue(commands)
        for command in commands:
            with self.subTest(command=command):
                done = subprocess.run([ROOT / "run", command, "--help"],
                                      capture_output=True, text=True, check=True)
                self.assertIn(f"./run {command}", done.stdout)


if __name__ == "__main__":
    unittest.main()
