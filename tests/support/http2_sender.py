"""A client of HTTP/2 that sends as much as the server lets it, and then nothing.

It keeps to the flow control of the server, which ends a connection that does
not, and reads on a thread of its own. RFC 9113 has the frames, RFC 7541 (HPACK)
the headers.
"""

import socket
import ssl
import struct
import threading

from http2 import (ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE,
                   RESET, SETTINGS, call_headers, frame)

WINDOW_UPDATE, CONTINUATION = 8, 9
INITIAL_WINDOW_SIZE = 4  # a setting
WINDOW = 65535


def literal(name, value):
    """A header that no table keeps."""
    def text(of):
        of = of.encode() if isinstance(of, str) else of
        if len(of) < 127:
            return bytes([len(of)]) + of
        rest, digits = len(of) - 127, b"\x7f"
        while rest >= 128:
            digits += bytes([rest % 128 + 128])
            rest //= 128
        return digits + bytes([rest]) + of
    return b"\x00" + text(name) + text(value)


def half_message(payload, length):
    """The beginning of a message of `length` bytes as gRPC frames it."""
    return b"\x00" + struct.pack(">I", length) + payload


class Sender:
    """A connection to `address`, HOST:PORT or unix:PATH; `tls` is a context."""

    def __init__(self, address, tls=None, timeout=60):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            self.socket = socket.create_connection((host, int(port)), timeout)
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.changed = threading.Condition()
        self.window = WINDOW
        self.stream_windows = {}
        self.initial_window = WINDOW
        self.closed = False
        self.frames = []  # kinds that came
        self.next_stream = 1
        self.write_lock = threading.Lock()
        self.send(PREFACE + frame(SETTINGS, 0, 0))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.reader.join()
        self.socket.close()

    def send(self, data):
        """False once the server has ended the connection."""
        try:
            with self.write_lock:
                self.socket.sendall(data)
        except (OSError, ssl.SSLError):
            self._end()
            return False
        return True

    def _end(self):
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def _read(self):
        try:
            self.socket.settimeout(None)
            while True:
                head = self._exactly(9)
                length = struct.unpack(">I", b"\x00" + head[:3])[0]
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = self._exactly(length)
                self._take(kind, flags, stream & 0x7FFFFFFF, payload)
        except (OSError, ConnectionError, ssl.SSLError, ValueError):
            self._end()

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        if kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        with self.changed:
            self.frames.append((kind, stream))
            if kind == SETTINGS and not flags & ACK:
                for at in range(0, len(payload), 6):
                    name, value = struct.unpack(">HI", payload[at:at + 6])
                    if name != INITIAL_WINDOW_SIZE:
                        continue
                    for one in self.stream_windows:
                        self.stream_windows[one] += value - self.initial_window
                    self.initial_window = value
            if kind == WINDOW_UPDATE:
                more = struct.unpack(">I", payload)[0]
                if stream == 0:
                    self.window += more
                elif stream in self.stream_windows:
                    self.stream_windows[stream] += more
            self.changed.notify_all()

    def wait_until_closed(self, timeout):
        with self.changed:
            return self.changed.wait_for(lambda: self.closed, timeout)

    def wait_for_end_of(self, stream, timeout):
        """Whether the server ends the stream, or the connection."""
        with self.changed:
            return self.changed.wait_for(
                lambda: self.closed or any(
                    kind in (HEADERS, RESET) and of == stream
                    for kind, of in self.frames), timeout)

    def start(self, method):
        """A stream whose headers have been sent."""
        stream = self.next_stream
        self.next_stream += 2
        with self.changed:
            self.stream_windows[stream] = self.initial_window
        self.send(frame(HEADERS, END_HEADERS, stream,
                        call_headers(method)))
        return stream

    def data(self, stream, payload, end=False, patience=60):
        """Sends as much as the server lets in; returns how many bytes."""
        sent = 0
        while sent < len(payload) or (end and not payload):
            with self.changed:
                ready = self.changed.wait_for(
                    lambda: self.closed
                    or min(self.window, self.stream_windows[stream]) > 0
                    or not payload, patience)
                if self.closed or not ready:
                    return sent
                count = min(len(payload) - sent, 16384, self.window,
                            self.stream_windows[stream])
                self.window -= count
                self.stream_windows[stream] -= count
            last = end and sent + count == len(payload)
            if not self.send(frame(DATA, END_STREAM if last else 0, stream,
                                   payload[sent:sent + count])):
                return sent
            sent += count
            if not payload:
                break
        return sent
