"""Runs the tests of attention-client against the package as pip installs it.

    run.py {current,debian} FOLDER [PYTEST-ARGUMENT...]

In a virtual environment in FOLDER, made once for each state of
requirements-*.txt. "debian" sees Debian's packages, PyTorch among them, and runs
all tests; "current" has PyPI's latest and runs all but those of PyTorch, and
mypy. ATTENTION_SERVER is the server to test against.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE.parent


def main(name, folder, *arguments):
    environment = pathlib.Path(folder).resolve()
    python = environment / "bin" / "python"
    requirements = HERE / f"requirements-{name}.txt"
    debian = name == "debian"

    # Elsewhere than in the sources, and without what an earlier build left.
    config = environment / "build.cfg"
    os.environ |= {
        "DIST_EXTRA_CONFIG": str(config), "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1"}

    def pip(*options):
        run(python, "-m", "pip", "install", "--quiet", *options)

    wanted = hashlib.sha256(
        requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = environment / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(environment, clear=True, with_pip=True,
                    system_site_packages=debian)
        pip("--requirement", requirements)
        config.write_text(f"[build]\nbuild_base = {environment}/build\n"
                          f"[egg_info]\negg_base = {environment}\n")
        stamp.write_text(wanted)

    run("rm", "-rf", environment / "build")
    pip("--no-build-isolation", "--force-reinstall", "--no-deps", PACKAGE)
    chosen = [] if debian else ["--ignore", HERE / "torch_test.py"]
    run(python, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        *chosen, *arguments, cwd=PACKAGE)
    if not debian:
        run(python, "-m", "pip", "check")
        for what in ("--package=attention_client", HERE / "typed_use.py"):
            run(python, "-m", "mypy", "--cache-dir", environment / "mypy",
                "--config-file", PACKAGE / "pyproject.toml", what,
                cwd=environment)


def run(*command, cwd=None):
    status = subprocess.run(command, cwd=cwd).returncode
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
