"""The attention command line as a test meets it: its tree of commands, and a
folder with what its examples take."""

import json
import os
import pathlib
import subprocess

CLI = os.environ["ATTENTION_CLI"]
# Another server than the one of the examples.
DEFAULT_TARGET = "127.0.0.1:50051"

FILES = {
    "tokens.csv": "0.43,0.15,0.89\n0.55,0.87,0.66\n0.57,0.85,0.64\n"
                  "0.22,0.58,0.33\n0.77,0.25,0.10\n0.05,0.80,0.55\n",
    "query.csv": "0.1,0.2\n0.3,0.4\n0.5,0.6\n",
    "key.csv": "0.6,0.5\n0.4,0.3\n0.2,0.1\n",
    "value.csv": "1,0\n0,1\n1,1\n",
    "words.txt": "Your\njourney\nstarts\nwith\none\nstep\n",
    "requests.jsonl": '{"causal": true}\n{"softmax_scale": 1}\n',
}

# Before each example, so that one does not depend on another.
SETUP = """
attention weights init layer --distribution linear --layout out-in --seed 123 \
    --query-width 3 --head-dim 2 --idempotency-key examples
attention weights label layer production 1
attention weights init scratch --distribution linear --layout out-in --seed 1 \
    --query-width 3 --head-dim 2
attention weights get layer --out layer.json
attention weights get layer --out layer.npz
attention weights init full --distribution linear --layout out-in --seed 1 \
    --query-width 12 --head-dim 1 --heads 12 --output-width 12 --input-bias \
    --output-bias --idempotency-key examples
attention weights export full bert.safetensors --preset bert --layer 0
attention weights export full gpt2.safetensors --preset gpt2 --layer 3
"""


def commands(tree):
    """`tree` and all below it."""
    yield tree
    for below in tree["commands"]:
        yield from commands(below)


def read_tree(*program):
    """The command line of a program, as it describes itself."""
    return json.loads(subprocess.run(
        program, check=True, stdout=subprocess.PIPE, text=True).stdout)


def leaves(tree):
    return [c for c in commands(tree) if not c["commands"]]


def environment(address, **more):
    """Of a shell that finds the command line and the server at `address`."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("ATTENTION_")}
    return {**kept, "PATH": f"{os.path.dirname(CLI)}:{os.environ['PATH']}",
            "ATTENTION_TARGET": address, **more}


def write_files(folder):
    for name, text in FILES.items():
        pathlib.Path(folder, name).write_text(text)


def run_in_shell(script, folder, address):
    """Runs a script; fails on the first of its commands that fails."""
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script], cwd=folder,
        env=environment(address), text=True, capture_output=True,
        stdin=subprocess.DEVNULL)
