"""Builds an image and runs it, with Docker where its daemon answers, else with
buildah and podman.

The latter need no daemon, no registry and no configuration of the machine: they
keep everything below a folder that is removed at the end, and the base image is
a Debian that debootstrap installs from this machine's own mirror. That takes
root.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

from proofs import pristine_debian
from proofs.context import clean_environment, run

BASE = "docker.io/library/debian:bookworm-slim"
PORT = 50051  # as the image exposes it

# What podman needs where there is no systemd, and where the machine is itself a
# container: crun and podman's own limits want more than may be had there.
CONTAINERS_CONF = """\
[containers]
netns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
# Not with the podman that this machine may have of its own.
lock_type = "file"
"""

# As docker/compose.yaml has it.
HARDENED = ("--read-only", "--cap-drop=all",
            "--security-opt=no-new-privileges", "--tmpfs=/tmp")


class Engine:
    """What Docker and podman have in common. Images and containers are known by
    their ids, and only what was made here is removed."""

    def __init__(self, command, build_command):
        self.command = command
        self.build_command = build_command
        self.environment = clean_environment()
        self.containers = []
        self.images = []

    def call(self, *arguments, check=True, **options):
        done = subprocess.run(
            [*self.command, *map(str, arguments)], env=self.environment,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, **options)
        if check and done.returncode != 0:
            sys.exit(f"attention: {arguments[0]} failed: {done.stderr}")
        return done

    def build(self, root, base):
        """Builds docker/Dockerfile of the checkout at `root`; returns the
        image."""
        with tempfile.TemporaryDirectory() as scratch:
            id_file = pathlib.Path(scratch) / "id"
            built = run(
                "building the image (some minutes)",
                [*self.build_command, f"--file={root / 'docker/Dockerfile'}",
                 f"--build-arg=BASE={base}",
                 f"--build-arg=REVISION={revision(root)}",
                 f"--iidfile={id_file}", root], env=self.environment)
            if built.code != 0:
                sys.exit("attention: the image does not build")
            self.images.append(id_file.read_text().strip())
        return self.images[-1]

    def inspect(self, id):
        """What the engine knows of an image or a container."""
        return json.loads(self.call("inspect", id).stdout)[0]

    def health_check(self, image):
        """The command of HEALTHCHECK; empty if it is not in exec form."""
        about = self.inspect(image)
        # podman has it beside the image's other settings.
        test = (about["Config"].get("Healthcheck") or about.get("Healthcheck")
                or {}).get("Test", [])
        return test[1:] if test[:1] == ["CMD"] else []

    def start(self, image, arguments=(), *options):
        """Runs the image in the background; returns the container."""
        container = self.create(image, arguments, *options)
        self.call("start", container)
        return container

    def create(self, image, arguments=(), *options):
        container = self.call("create", *self.run_options, *options, image,
                              *arguments).stdout.strip()
        self.containers.append(container)
        return container

    def run(self, image, arguments=(), *options):
        """Runs the image to its end; (exit code, all that it printed)."""
        container = self.start(image, arguments, *options)
        return int(self.call("wait", container).stdout), self.logs(container)

    def exec(self, container, *command):
        done = self.call("exec", container, *command, check=False)
        return done.returncode, done.stdout + done.stderr

    def logs(self, container):
        done = self.call("logs", container)
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def files(self, image):
        """The whole file system of an image as a stream of tar."""
        exporting = subprocess.Popen(
            [*self.command, "export", self.create(image, ["true"])], env=self.environment,
            stdout=subprocess.PIPE)
        with exporting:
            yield exporting.stdout
            exporting.stdout.read()  # what follows the end of the archive
        if exporting.returncode != 0:
            sys.exit("attention: the image's files cannot be read")

    def clean_up(self):
        for container in self.containers:
            self.call("rm", "--force", "--volumes", container, check=False)
        for image in self.images:
            self.call("rmi", "--force", image, check=False)


class Docker(Engine):
    """Docker, with the base image of its registry."""

    run_options = ()

    def __init__(self):
        super().__init__(["docker"], ["docker", "build"])

    @staticmethod
    def works():
        return shutil.which("docker") is not None and subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False).returncode == 0

    def base(self):
        if self.call("image", "inspect", BASE, check=False).returncode != 0:
            self.call("pull", "--quiet", BASE)
        return BASE

    def serve(self, image, arguments, *options):
        """Runs the server where only this machine reaches it; (container,
        address)."""
        container = self.start(
            image, arguments, f"--publish=127.0.0.1::{PORT}", *options)
        return container, self.call(
            "port", container, PORT).stdout.split()[0]


class Podman(Engine):
    """podman and buildah, which share a folder of their own."""

    # Its health check needs systemd; a read-only root gets writable folders in
    # memory that Docker's has not.
    run_options = ("--network=host", "--no-healthcheck",
                   "--read-only-tmpfs=false")

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        store = [f"--root={self.folder / 'images'}",
                 f"--runroot={self.folder / 'run'}"]
        super().__init__(
            ["podman", *store, f"--tmpdir={self.folder / 'state'}"],
            ["buildah", *store, "bud", "--isolation=chroot", "--network=host",
             "--pull-never", "--format=docker"])
        conf = self.folder / "containers.conf"
        conf.write_text(CONTAINERS_CONF)
        self.environment["CONTAINERS_CONF"] = str(conf)

    def base(self):
        system = self.folder / "base"
        if not pristine_debian.install(system):
            sys.exit("attention: debootstrap could not install Debian 12")
        pristine_debian.forget_package_lists(system)
        packed = subprocess.Popen(
            ["tar", "--directory", system, "--create", "."],
            stdout=subprocess.PIPE)
        with packed:
            done = subprocess.run(
                [*self.command, "import", "-", BASE], env=self.environment,
                stdin=packed.stdout, check=False, capture_output=True,
                text=True)
        shutil.rmtree(system)
        if packed.returncode != 0 or done.returncode != 0:
            sys.exit(f"attention: podman import failed: {done.stderr}")
        return BASE

    def serve(self, image, arguments, *options):
        # It shares this machine's network, where any port may be taken.
        address = f"127.0.0.1:{free_port()}"
        return self.start(
            image, arguments, f"--env=ATTENTION_LISTEN={address}",
            f"--env=ATTENTION_TARGET={address}", *options), address

    def clean_up(self):
        # The images go with the folder; what they are mounted on would not.
        super().clean_up()
        self.call("umount", "--all", check=False)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def revision(root):
    """The commit that is checked out; empty where git knows none."""
    done = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], text=True,
                          capture_output=True, check=False)
    return done.stdout.strip()


@contextlib.contextmanager
def an_engine():
    """An engine that removes what it has made."""
    with contextlib.ExitStack() as stack:
        if Docker.works():
            engine = Docker()
        elif os.geteuid() == 0:
            engine = Podman(stack.enter_context(
                tempfile.TemporaryDirectory(prefix="attention-container-")))
        else:
            sys.exit("attention: no Docker daemon answers, and buildah and "
                     "podman are used as root only")
        stack.callback(engine.clean_up)
        yield engine
