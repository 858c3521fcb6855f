"""A client of HTTP/2 that says frames of its own, for what no library sends."""

import socket
import struct

from server_process import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4

# Settings of RFC 9113, 6.5.2.
MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE = 3, 6


def frame(kind, flags=0, stream=0, payload=b""):
    return (struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
            + struct.pack(">I", stream) + payload)


def header(name, value):
    """A header as HPACK has it in its plainest form: literal, not indexed."""
    encoded = b"\x00"
    for text in (name.encode(), value.encode()):
        assert len(text) < 127
        encoded += bytes((len(text),)) + text
    return encoded


def call_headers(method):
    """The headers that begin a call of gRPC."""
    return b"".join(header(*one) for one in (
        (":method", "POST"), (":scheme", "http"), (":path", method),
        (":authority", "localhost"), ("te", "trailers"),
        ("content-type", "application/grpc")))


def message(body):
    """A message as gRPC frames it."""
    return b"\0" + struct.pack(">I", len(body)) + body


class Connection:
    """A connection whose first words have been said; a context manager."""

    def __init__(self, address, greet=True):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.received = b""
        if greet:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def call(self, method, body=b"", stream=1):
        """Begins a call with a message, which may be cut short, and no end."""
        self.send(frame(HEADERS, END_HEADERS, stream, call_headers(method))
                  + frame(DATA, 0, stream, body))

    def _take(self, count):
        while len(self.received) < count:
            more = self.socket.recv(1 << 16)
            if not more:
                return None
            self.received += more
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def read(self):
        """The next (kind, flags, stream, payload); None once it is closed.
        Settings and pings are answered."""
        try:
            head = self._take(9)
            if head is None:
                return None
            payload = self._take(int.from_bytes(head[:3], "big"))
        except ConnectionResetError:
            return None
        if payload is None:
            return None
        kind, flags = head[3], head[4]
        if kind in (SETTINGS, PING) and not flags & ACK:
            try:
                self.send(frame(kind, ACK,
                                payload=payload if kind == PING else b""))
            except OSError:
                pass  # closed meanwhile, which the next read tells
        return kind, flags, int.from_bytes(head[5:], "big"), payload

    def read_until(self, wanted):
        """Frames up to the first for which `wanted(kind, flags, stream)` holds,
        with it; all until the end if there is none."""
        frames = []
        while (one := self.read()) is not None:
            frames.append(one)
            if wanted(*one[:3]):
                break
        return frames
