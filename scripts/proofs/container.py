"""The container: built from docker/Dockerfile, and run as little trusted as can
be."""

import pathlib
import re
import sys
import tempfile
import time

import yaml

from proofs import container_contents
from proofs.container_engine import HARDENED, PORT, an_engine, revision

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))
from certificates import Authority  # noqa: E402

QUICK = "nothing less: most of it is building the image"

USER = "10001:10001"

# Measured: 85 MiB, of which the programs are 6, OpenBLAS with its kernels for
# every processor 42 and gRPC with what it needs 28. A quarter as much is left
# for libraries to come; a compiler, or a second matrix library, does not fit.
LARGEST_MIB = 110

# What the server gives calls in flight (--shutdown-grace), and none is; what the
# compose file gives connections before that.
GRACE_SECONDS = 10
DRAIN_SECONDS = 40
PATIENCE = 60


def prove(context):
    context.build_targets("python_stubs")
    with an_engine() as engine:
        image = prove_image(engine, context.root, context.claims)
        prove_running(engine, image, context.claims,
                      lambda address: prove_chapter(context, address))


def smoke(root, claims):
    """All that needs nothing of this machine but the engine: no build."""
    with an_engine() as engine:
        image = prove_image(engine, root, claims)
        prove_running(engine, image, claims, lambda address: None)


def prove_image(engine, root, claims):
    """Builds the image and looks into it; returns its id."""
    base = engine.base()
    image = engine.build(root, base)
    with engine.files(base) as stream:
        of_base = container_contents.read(stream)
    with engine.files(image) as stream:
        contents = container_contents.read(stream)
    report(of_base, contents)
    claims.at_most(
        "container.mib_over_base",
        f"MiB that the image has beyond its base of "
        f"{mib(of_base.total()):.0f} MiB",
        mib(contents.total() - of_base.total()), LARGEST_MIB)
    for id, what, pattern in (
        ("compilers", "compilers, linkers, headers and static libraries",
         container_contents.COMPILER),
        ("package_lists", "package lists and archives of apt",
         container_contents.PACKAGE_LISTS),
        ("sources", "files of the project's source",
         container_contents.SOURCES)):
        found = set(contents.matching(pattern)) - set(of_base.sizes)
        claims.equal(
            f"container.{id}", f"{what} in the image"
            + "".join(f" {path}" for path in sorted(found)[:3]),
            len(found), 0)
    prove_settings(engine, image, root, claims)
    prove_compose(root, claims)
    return image


def report(base, contents):
    print("what the image has beyond its base, in MiB:")
    for part, size in contents.beyond(base).items():
        if abs(size) >= 1024 * 100:
            print(f"{mib(size):8.1f}  {part}")


def mib(size):
    return size / 2**20


def prove_settings(engine, image, root, claims):
    config = engine.inspect(image)["Config"]
    project = (root / "CMakeLists.txt").read_text()
    version = re.search(r"project\(\w+ VERSION (\S+)", project)[1]
    labels = config["Labels"]
    label = "org.opencontainers.image."
    wrong = [name for name, right in {
        "User": config["User"] == USER,
        # A list: the server is the first process and gets the signals.
        "Entrypoint": config["Entrypoint"] == ["attention-server"],
        "Volumes": list(config["Volumes"]) == ["/data"],
        "ExposedPorts": list(config["ExposedPorts"]) == [f"{PORT}/tcp"],
        "StopSignal": config["StopSignal"] in ("SIGTERM", "15"),
        "Healthcheck": engine.health_check(image)[:2] == [
            "attention", "health"],
        "version": labels[label + "version"] == version,
        "revision": labels[label + "revision"] == revision(root),
        "licenses": labels[label + "licenses"] == "Apache-2.0",
        "title": labels[label + "title"] != "",
        "description": labels[label + "description"] != "",
    }.items() if not right]
    claims.equal(
        "container.settings", "settings and labels of the image that are not "
        "as they should be" + "".join(f" {name}" for name in wrong),
        len(wrong), 0)


def prove_compose(root, claims):
    compose = yaml.safe_load((root / "docker/compose.yaml").read_text())
    service = compose["services"]["attention"]
    wrong = [name for name, right in {
        "read_only": service["read_only"] is True,
        "cap_drop": service["cap_drop"] == ["ALL"],
        "security_opt": service["security_opt"] == ["no-new-privileges:true"],
        "tmpfs": service["tmpfs"] == ["/tmp"],
        "volumes": service["volumes"] == ["data:/data"],
        "ports": "ports" not in service,
        # With --insecure nobody else may reach it.
        "networks": "--insecure" in service["command"] and all(
            compose["networks"][name]["internal"] is True
            for name in service["networks"]),
        "drain_delay":
            f"--drain-delay={DRAIN_SECONDS}s" in service["command"],
        "stop_grace_period": int(
            service["stop_grace_period"].removesuffix("s"))
            > DRAIN_SECONDS + GRACE_SECONDS,
    }.items() if not right]
    claims.equal(
        "container.compose", "settings of docker/compose.yaml that are not as "
        "they should be" + "".join(f" {name}" for name in wrong),
        len(wrong), 0)


def prove_running(engine, image, claims, prove_calls):
    """Runs the image; `prove_calls` is given the address of its server."""
    code, printed = engine.run(image, (), *HARDENED)
    claims.equal(
        "container.open_network_refused",
        "exit code where neither --insecure nor certificates are given, and "
        "the line says both",
        code if "--tls-cert" in printed and "--insecure" in printed else -1, 2)
    container, address = engine.serve(image, ["--insecure"], *HARDENED)
    prove_healthy(engine, image, container, claims, "plain text")
    prove_confined(engine, container, claims)
    claims.equal(
        "container.demo", "exit code of attention demo inside",
        engine.exec(container, "attention", "demo")[0], 0)
    prove_calls(address)
    prove_stop(engine, container, claims)
    prove_data_stay(engine, image, claims)
    prove_tls(engine, image, claims)


def prove_data_stay(engine, image, claims):
    """What one container keeps in /data is served by the next."""
    with tempfile.TemporaryDirectory(prefix="attention-data-") as folder:
        pathlib.Path(folder).chmod(0o777)  # for the image's user
        said = []
        for command in (
            ("init", "kept", "--distribution", "linear", "--layout", "out-in",
             "--seed", "1", "--query-width", "3", "--head-dim", "2"),
            ("get", "kept"),
        ):
            container, _ = engine.serve(
                image, ["--insecure"], *HARDENED, f"--volume={folder}:/data")
            wait_until_healthy(engine, image, container)
            code, printed = engine.exec(container, "attention", "weights",
                                        *command)
            said.append(printed.splitlines()[0] if code == 0 else printed)
            engine.call("stop", "--time", GRACE_SECONDS + 5, container)
    claims.equal(
        "container.data_stay", "weight sets that a second container with the "
        f"same /data serves, by name and SHA-256 ({said[0][:30]}...)",
        int(said[0] == said[1] and said[0].startswith("kept@1, sha256 ")), 1)


def prove_healthy(engine, image, container, claims, how):
    began = time.monotonic()
    code, said = wait_until_healthy(engine, image, container)
    seconds = time.monotonic() - began
    if code != 0:
        print(said, engine.logs(container), file=sys.stderr)
    claims.equal(
        f"container.healthy.{how.replace(' ', '_')}",
        f"exit code of the image's own health check inside, over {how}, "
        f"{seconds:.1f} s after the start", code, 0)


def wait_until_healthy(engine, image, container):
    """Asks as the image's health check does, until it passes; what it said."""
    until = time.monotonic() + PATIENCE
    code, said = 1, ""
    while code != 0 and time.monotonic() < until:
        time.sleep(0.1)
        code, said = engine.exec(container, *engine.health_check(image))
    return code, said


def prove_confined(engine, container, claims):
    status = dict(
        line.split(":\t", 1) for line in
        engine.exec(container, "cat", "/proc/1/status")[1].splitlines())
    claims.equal(
        "container.process", f"the server, {status['Name']}, runs as user",
        int(status["Uid"].split()[0]), int(USER.split(":")[0]))
    claims.equal(
        "container.capabilities", "capabilities it has, could get, or gains by "
        "a program's file (new privileges " + status["NoNewPrivs"] + ")",
        sum(int(status[name], 16)
            for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"))
        + int(status["NoNewPrivs"] != "1"), 0)
    folders = engine.exec(
        container, "sh", "-c",
        "find / -path /proc -prune -o -path /sys -prune -o -path /data -prune "
        "-o -type d -print 2> /dev/null | while read -r folder; do "
        "if touch \"$folder/x\" 2> /dev/null; then echo \"$folder\"; fi; done"
    )[1].split()
    # Of the machine's memory, and gone with the container.
    folders = set(folders) - {"/tmp", "/dev/shm", "/dev/mqueue"}
    claims.equal(
        "container.write_outside",
        "folders beside /data, and /tmp in memory, that it can write to"
        + "".join(f" {folder}" for folder in sorted(folders)[:3]),
        len(folders), 0)
    claims.equal(
        "container.write_data", "exit code of a write to /data",
        engine.exec(container, "touch", "/data/x")[0], 0)


def prove_chapter(context, address):
    context.prove_by_script("container.chapter", "chapter_proof.py", address)


def prove_stop(engine, container, claims):
    told = time.monotonic()
    engine.call("stop", "--time", GRACE_SECONDS + 5, container)
    seconds = time.monotonic() - told
    claims.equal(
        "container.stop_code", "exit code after SIGTERM",
        engine.inspect(container)["State"]["ExitCode"], 0)
    claims.at_most(
        "container.stop_seconds", "seconds it took to stop", seconds,
        GRACE_SECONDS)


def prove_tls(engine, image, claims):
    """Mutual TLS by files that are mounted, and the health check with it."""
    with tempfile.TemporaryDirectory(prefix="attention-tls-") as folder:
        authority = Authority(folder)
        authority.issue("server", ["attention.example"])
        authority.issue("health")
        pathlib.Path(folder).chmod(0o755)
        for path in pathlib.Path(folder).iterdir():
            path.chmod(0o644)  # another user than this one is to read them
        container, _ = engine.serve(
            image,
            ["--tls-cert=/tls/server.pem", "--tls-key=/tls/server.key",
             "--tls-client-ca=/tls/authority.pem"], *HARDENED,
            f"--volume={folder}:/tls:ro",
            "--env=ATTENTION_TLS_CA=/tls/authority.pem",
            "--env=ATTENTION_TLS_SERVER_NAME=attention.example",
            "--env=ATTENTION_TLS_CLIENT_CERT=/tls/health.pem",
            "--env=ATTENTION_TLS_CLIENT_KEY=/tls/health.key")
        prove_healthy(engine, image, container, claims, "mutual TLS")
        claims.equal(
            "container.tls_stranger",
            "exit code of the health check without those certificates",
            engine.exec(container, "env", "--unset=ATTENTION_TLS_CLIENT_CERT",
                        "--unset=ATTENTION_TLS_CLIENT_KEY",
                        *engine.health_check(image))[0], 3)
