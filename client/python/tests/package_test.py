"""The package as it is installed: its files, its demo, its two clients."""

import dataclasses
import importlib.metadata
import importlib.resources
import inspect
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
from conftest import ROOT

from attention_client import AsyncClient, Client, demo, operations
from attention_client.__main__ import main
from attention_client.chapter import Expectation, examples


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "attention_client", *arguments], text=True,
        capture_output=True, env=os.environ | environment, timeout=120)


def test_the_demo_replays_the_chapter(address):
    expected = sum(
        len(example.expectations) + (example.same_weights is not None)
        for example in examples())
    assert expected > 20
    for replay in (run("demo", "--target", address),
                   run("demo", ATTENTION_TARGET=address)):  # a second time, too
        assert replay.returncode == 0, replay.stderr
        assert f"{expected} of {expected} agree with the chapter." in replay.stdout
        assert "[0.1385 0.2379 0.2333 0.124  0.1082 0.1581]" in replay.stdout


def test_without_a_server_the_demo_says_so_in_one_line():
    replay = run("demo", "--target", "127.0.0.1:1", "--timeout", "5")
    assert replay.returncode == 1
    assert "DIFFERS" not in replay.stdout
    assert replay.stderr.startswith("attention_client: UNAVAILABLE: ")
    assert replay.stderr.count("\n") == 1


def test_the_example_of_the_readme_runs(address, capsys):
    text = (ROOT / "client/python/README.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "localhost:50051" in example
    exec(example.replace("localhost:50051", address), {})
    assert capsys.readouterr().out == "(6, 2) (1, 6, 6) 1\n"


def test_the_example_of_the_projects_readme_prints_what_it_says(address, capsys):
    text = (ROOT / "README.md").read_text()
    [(example, printed)] = re.findall(
        r"as `layer\.py`:\n\n```python\n(.*?)```\n\n"
        r"```console\n\$ env/bin/python layer\.py\n(.*?)```", text, re.DOTALL)
    assert "127.0.0.1:50051" in example
    exec(example.replace("127.0.0.1:50051", address), {})
    assert capsys.readouterr().out == printed


def test_a_number_that_differs_is_an_exit_of_1(address, monkeypatch, capsys):
    example = next(examples())
    expected = example.expectations[0]
    wrong = dataclasses.replace(expected, values=expected.values + 1e-3)
    monkeypatch.setattr(demo, "examples", lambda: iter(
        [dataclasses.replace(example, expectations=(wrong, expected))]))
    assert main(["demo", "--target", address]) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS: attention weights of token 2" in printed
    assert "1 of 2 agree with the chapter." in printed


def test_a_wrong_digit_sign_shape_or_nan_differs():
    values = np.array([0.1385, -0.2379])
    expectation = Expectation("", "output", (), values, np.full(2, 0.5e-4))
    assert expectation.holds(values + 0.4e-4)
    for wrong in (values + 1e-4, -values, values[:1], values[None], values * np.nan):
        assert not expectation.holds(wrong)


def test_both_clients_have_the_same_methods_with_the_same_words():
    blocking, awaiting = (
        {name: member for name, member in inspect.getmembers(kind, callable)
         if not name.startswith("_")} for kind in (Client, AsyncClient))
    assert set(blocking) == set(awaiting)
    assert {"compute", "compute_many", "set_weights", "close"} <= set(blocking)
    for name in set(blocking) - {"compute_many", "close"}:
        operation = getattr(operations, name)
        for method in (blocking[name], awaiting[name]):
            assert method.__doc__ == operation.__doc__
            parameters = list(inspect.signature(method).parameters)
            assert parameters == ["self", *inspect.signature(operation).parameters]
            assert "Operation" not in inspect.signature(method).return_annotation


def test_the_version_is_the_projects():
    project = (ROOT / "CMakeLists.txt").read_text()
    version = importlib.metadata.version("attention-client")
    assert f"project(attention_service VERSION {version} " in project


def test_the_chapter_is_the_repositorys():
    packaged = importlib.resources.files("attention_client") / "chapter.json"
    assert packaged.read_bytes() == (ROOT / "client/chapter.json").read_bytes()


def test_a_source_distribution_builds_without_the_repository(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path,
         ROOT / "client/python"], check=True, stdout=subprocess.DEVNULL,
        cwd=tmp_path, timeout=120)
    [wheel] = pathlib.Path(tmp_path).glob("attention_client-*.whl")
    with zipfile.ZipFile(wheel) as built:
        names = built.namelist()
    for name in ("attention_pb2.py", "attention_pb2.pyi", "chapter.json",
                 "py.typed", "client.py"):
        assert f"attention_client/{name}" in names
    assert not [name for name in names if "tests" in name]
