"""./run demo in a Debian 12 that was installed a minute ago, with nothing but
apt.

The system lives in a temporary directory. Everything that runs in it has mounts
and processes of its own (unshare), which the kernel ends with the program that
was started, however that ends; so nothing is left mounted.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from proofs import clean_clone
from proofs.context import run

SUITE = "bookworm"
CERTIFICATES = pathlib.Path("etc/ssl/certs/ca-certificates.crt")
PROXIES = re.compile(r"(https?|ftp|no|all)_proxy", re.IGNORECASE)

# How this machine's apt reaches its mirror; nothing else of its settings.
REACHING = re.compile(
    r"Acquire::((http|https)::|Check-Valid-Until |Check-Date |Retries )")

INSIDE = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def check_possible():
    if os.geteuid() != 0:
        sys.exit("attention: the pristine Debian needs root; as another user "
                 "there is ./run prove spine --quick")


def output_of(*command):
    return subprocess.run(
        command, check=True, capture_output=True, text=True).stdout


def sources():
    """(URI, suite) of this machine's apt sources for Debian 12."""
    lines = output_of(
        "apt-get", "indextargets", "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    found = []
    for line in lines.splitlines():
        uri, suite, component = line.split()
        if component == "main" and re.fullmatch(
                SUITE + r"(-updates|-security)?", suite):
            found.append((uri, suite))
    return sorted(set(found), key=lambda source: source[1])


def reaching():
    """This machine's apt.conf, as far as it is about reaching a mirror."""
    return "".join(
        line + "\n" for line in output_of("apt-config", "dump").splitlines()
        if REACHING.match(line) and not line.endswith('"";'))


def install(system):
    """A minbase system with this machine's way to its mirror."""
    mirrors = sources()
    base = next((uri for uri, suite in mirrors if suite == SUITE), None)
    if base is None:
        sys.exit(f"attention: no apt source of this machine has {SUITE}")
    installed = run(
        "installing a pristine Debian 12",
        ["unshare", "--mount", "debootstrap", "--variant=minbase", SUITE,
         system, base])
    if installed.code != 0:
        return False
    etc = system / "etc"
    (etc / "apt/sources.list").write_text(
        "".join(f"deb {uri} {suite} main\n" for uri, suite in mirrors))
    (etc / "apt/apt.conf.d/90mirror").write_text(reaching())
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(pathlib.Path("/etc") / name, etc / name)
    if any(uri.startswith("https:") for uri, _ in mirrors):
        (system / CERTIFICATES).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile("/" / CERTIFICATES, system / CERTIFICATES)
    return True


def forget_package_lists(system):
    """Takes away what apt can get again, as images of Debian do."""
    for folder in ("var/lib/apt/lists", "var/cache/apt"):
        for path in (system / folder).rglob("*"):
            if not path.is_dir():
                path.unlink()


def inside(system, *command):
    """The command that runs `command` in the system."""
    environment = INSIDE | {
        name: value for name, value in os.environ.items()
        if PROXIES.fullmatch(name)}
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child",
            f"--mount-proc={system}/proc", "chroot", system, "env", "-i",
            *(f"{name}={value}" for name, value in environment.items()),
            *command]


def already_there(root, system):
    """How many of the packages the project builds with the system has."""
    listed = [line.split() for line in
              (root / "scripts/packages.txt").read_text().splitlines()
              if line.startswith("build ")]
    have = re.findall(r"^Package: (\S+)$",
                      (system / "var/lib/dpkg/status").read_text(), re.MULTILINE)
    return len({fields[1] for fields in listed} & set(have)), len(have)


def prove(context):
    with tempfile.TemporaryDirectory(prefix="attention-debian-") as scratch:
        system = pathlib.Path(scratch) / "system"
        if not install(system):
            context.claims.equal(
                "spine.demo_pristine", "debootstrap installs Debian 12", 0, 1)
            return
        had, packages = already_there(context.root, system)
        context.claims.equal(
            "spine.demo_pristine.packages_before",
            f"packages the project builds with among the {packages} of a "
            "pristine Debian 12", had, 0)
        clean_clone.clone(context.root, system / "root/attention service")
        demo = run("./run demo in it", inside(
            system, "/root/attention service/run", "demo"))
        context.claims.equal(
            "spine.demo_pristine",
            "./run demo in that system: times it ends with 0, in "
            f"{demo.seconds:.0f} s", int(demo.code == 0), 1)
