"""A client of HTTP/2 that says frames of its own, for what no library sends.

RFC 9113 has the frames, RFC 7541 (HPACK) the headers.
"""

import socket
import ssl
import struct
import threading

from server_process import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
WINDOW_UPDATE, CONTINUATION = 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
CANCEL = struct.pack(">I", 8)  # why a stream is reset

# Settings of RFC 9113, 6.5.2.
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 6

# What may be sent, and of a frame, before the other side says more.
WINDOW, FRAME = 65535, 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return (struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
            + struct.pack(">I", stream) + payload)


def header(name, value):
    """A header as HPACK has it in its plainest form: literal, not indexed."""
    encoded = b"\x00"
    for text in (name.encode(), value.encode()):
        if len(text) < 127:
            encoded += bytes((len(text),))
        else:  # 5.1: seven bits full, and the rest in groups of seven
            rest, encoded = len(text) - 127, encoded + b"\x7f"
            while rest >= 128:
                encoded += bytes((rest % 128 + 128,))
                rest //= 128
            encoded += bytes((rest,))
        encoded += text
    return encoded


def call_headers(method, *more):
    """The headers that begin a call of gRPC; `more` are pairs."""
    return b"".join(header(*one) for one in (
        (":method", "POST"), (":scheme", "http"), (":path", method),
        (":authority", "localhost"), ("te", "trailers"),
        ("content-type", "application/grpc"), *more))


def message(body, length=None):
    """A message as gRPC frames it, or the beginning of one of `length` bytes."""
    return b"\0" + struct.pack(
        ">I", len(body) if length is None else length) + body


class TlsSocket:
    """TLS over a socket. One thread may receive while another sends, which is
    more than ssl.SSLSocket says of itself."""

    def __init__(self, plain, context, host):
        self.plain = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing,
                                    server_hostname=host)
        self.lock = threading.Lock()
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.plain.sendall(self.outgoing.read())
                self._receive()
        self.plain.sendall(self.outgoing.read())

    def _receive(self):
        data = self.plain.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        with self.lock:
            self.incoming.write(data)

    def recv(self, count):
        while True:
            with self.lock:
                try:
                    return self.tls.read(count)
                except ssl.SSLWantReadError:
                    pass
            self._receive()

    def sendall(self, data):
        with self.lock:
            self.tls.write(data)
            encrypted = self.outgoing.read()
        self.plain.sendall(encrypted)


class Connection:
    """A connection whose first words have been said; a context manager.

    A thread of its own reads: it acknowledges settings and pings and keeps to
    the flow control of the server, which ends a connection that does not. It
    lets the server send no more than what the first window takes. `tls` is an
    ssl.SSLContext."""

    def __init__(self, address, tls=None, greet=True):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), PATIENCE)
        self.over = self.socket
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.over = TlsSocket(self.socket, tls, host)
        self.socket.settimeout(None)
        self.changed = threading.Condition()
        self.window = self.initial_window = WINDOW
        self.stream_windows = {}
        self.closed = False
        # (kind, flags, stream, payload), but for acknowledged settings.
        self.frames = []
        self.taken = 0  # of them, by read()
        self.next_stream = 1
        self.send_lock = threading.Lock()
        if greet:
            self.send(PREFACE + frame(SETTINGS))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.reader.join()
        self.socket.close()

    def send(self, data):
        """Whether the server still takes it."""
        try:
            with self.send_lock:
                self.over.sendall(data)
        except OSError:
            self._end()
            return False
        return True

    def start(self, method, *headers):
        """A stream on which a call begins; `headers` are further pairs."""
        stream = self.new_stream()
        self.send(frame(HEADERS, END_HEADERS, stream,
                        call_headers(method, *headers)))
        return stream

    def new_stream(self):
        """One on which nothing has been sent."""
        stream = self.next_stream
        self.next_stream += 2
        with self.changed:
            self.stream_windows[stream] = self.initial_window
        return stream

    def data(self, stream, payload, end=False, patience=PATIENCE):
        """Sends as much as the server lets in, waiting so long for more each
        time; returns how many bytes. REQUIRES: `payload` is not empty."""
        sent = 0
        while sent < len(payload):
            with self.changed:
                ready = self.changed.wait_for(
                    lambda: self.closed or min(
                        self.window, self.stream_windows[stream]) > 0, patience)
                if self.closed or not ready:
                    break
                count = min(len(payload) - sent, FRAME, self.window,
                            self.stream_windows[stream])
                self.window -= count
                self.stream_windows[stream] -= count
            last = end and sent + count == len(payload)
            if not self.send(frame(DATA, END_STREAM if last else 0, stream,
                                   payload[sent:sent + count])):
                break
            sent += count
        return sent

    def read(self):
        """The next frame; None once the server has closed the connection."""
        with self.changed:
            if not self.changed.wait_for(
                    lambda: self.closed or self.taken < len(self.frames),
                    PATIENCE):
                raise TimeoutError("the server says nothing")
            if self.taken == len(self.frames):
                return None
            self.taken += 1
            return self.frames[self.taken - 1]

    def read_until(self, wanted):
        """Frames up to the first for which `wanted(kind, flags, stream)` holds,
        with it; all until the end if there is none."""
        frames = []
        while (one := self.read()) is not None:
            frames.append(one)
            if wanted(*one[:3]):
                break
        return frames

    def wait_until_closed(self, timeout):
        with self.changed:
            return self.changed.wait_for(lambda: self.closed, timeout)

    def _end(self):
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.over.recv(count - len(data))
            if not piece:
                raise ConnectionError("closed")
            data += piece
        return data

    def _read(self):
        try:
            while True:
                head = self._exactly(9)
                kind, flags = head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                payload = self._exactly(int.from_bytes(head[:3], "big"))
                if kind in (SETTINGS, PING) and not flags & ACK:
                    self.send(frame(kind, ACK, 0,
                                    payload if kind == PING else b""))
                self._take(kind, flags, stream, payload)
        except OSError:
            self._end()

    def _take(self, kind, flags, stream, payload):
        with self.changed:
            if kind == SETTINGS and flags & ACK:
                return
            self.frames.append((kind, flags, stream, payload))
            if kind == SETTINGS:
                for name, value in struct.iter_unpack(">HI", payload):
                    if name != INITIAL_WINDOW_SIZE:
                        continue
                    for one in self.stream_windows:
                        self.stream_windows[one] += value - self.initial_window
                    self.initial_window = value
            elif kind == WINDOW_UPDATE:
                more = int.from_bytes(payload, "big")
                if stream == 0:
                    self.window += more
                elif stream in self.stream_windows:
                    self.stream_windows[stream] += more
            self.changed.notify_all()
