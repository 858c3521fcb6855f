"""How TCP paces what this machine sends to itself, and that rows over TCP are
measured with cubic, Linux's default, where it is something else
(docs/settings.md says why, and how to set it for good)."""

import contextlib
import socket
import subprocess

WANTED = "cubic"
HOST = "127.0.0.1"


def in_force():
    """Of a connection that is made now, at the end that has listened, which
    sends the answers."""
    with socket.create_server((HOST, 0)) as server, \
            socket.create_connection(server.getsockname()):
        accepted, _ = server.accept()
        with accepted:
            name = accepted.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            return name.rstrip(b"\0").decode()


def ip(*words):
    """What ip(8) prints; OSError or CalledProcessError if it cannot."""
    return subprocess.run(["ip", *words], check=True, capture_output=True,
                          text=True).stdout


def route():
    """The words of the route by which HOST is reached."""
    lines = ip("route", "show", "table", "local", "exact", HOST).splitlines()
    return lines[0].split() if lines else []


def with_wanted(words):
    """The words of a route, with what is wanted for its connections."""
    if "congctl" in words:
        place = words.index("congctl")
        # "congctl lock NAME" binds those too that ask for another.
        rest = place + 2 + (words[place + 1] == "lock")
        words = words[:place] + words[rest:]
    return words + ["congctl", WANTED]


def change_to(words):
    return ["route", "change", "table", "local", *words]


@contextlib.contextmanager
def paced_by_cubic(say):
    """While it lasts this machine's connections with itself use cubic, if this
    process may set that; yields what is in force, in words. Routes are of the
    machine, so others' connections that begin meanwhile use it too."""
    before = in_force()
    if before == WANTED:
        yield f"{WANTED}, as the machine has it"
        return
    words = []
    try:
        words = route()
        if not words:
            raise OSError(f"there is no route to {HOST} alone")
        ip(*change_to(with_wanted(words)))
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        command = " ".join(["ip", *change_to(with_wanted(words or [
            "local", HOST, "dev", "lo"]))])
        say(f"rows over TCP are measured with {before}, which may pace them; "
            f"{WANTED} cannot be set ({why.strip()}): as root, {command}")
        yield f"{before}, as the machine has it"
        return
    try:
        yield f"{in_force()}, by a route that was changed for the run"
    finally:
        ip(*change_to(words))
