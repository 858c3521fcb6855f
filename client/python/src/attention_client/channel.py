"""How both clients connect."""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import dataclass

import grpc

# gRPC's own default of 4 MiB is a matrix of 1024 x 1024 floats.
DEFAULT_MAX_REPLY_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Tls:
    """TLS to the server, with or without a certificate of one's own.

    Files in PEM, read once when a client is made.
    """

    # The authorities that the server's certificate may come from; without:
    # those that gRPC brings along.
    ca: str | os.PathLike[str] | None = None
    # The certificate to show a server that asks for one, followed by those up to
    # its authority's, and its private key. Both or neither.
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError, naming the file, if one cannot be read, and ValueError
        if it is not PEM, or if there is a certificate without its key or the
        other way round."""
        if (self.cert is None) != (self.key is None):
            given, missing = (("cert", "key") if self.key is None
                              else ("key", "cert"))
            raise ValueError(f"tls has {given} without {missing}; it takes both")
        return grpc.ssl_channel_credentials(
            _read_pem(self.ca, "CERTIFICATE"), _read_pem(self.key, "PRIVATE KEY"),
            _read_pem(self.cert, "CERTIFICATE"))


def _read_pem(
    path: str | os.PathLike[str] | None, kind: str
) -> bytes | None:
    """What a file has, in which there is something of this kind; gRPC would say
    no more than that no server can be reached."""
    if path is None:
        return None
    pem = pathlib.Path(path).read_bytes()
    # A key has its algorithm before these words.
    if not re.search(rb"-----BEGIN [A-Z0-9 ]*" + kind.encode() + b"-----", pem):
        raise ValueError(f"{path} has no {kind} in PEM "
                         f"(-----BEGIN {kind}-----)")
    return pem


def channel_options(max_reply_bytes: int) -> list[tuple[str, int]]:
    """What both kinds of channel are made with."""
    return [
        ("grpc.max_receive_message_length", max_reply_bytes),
        ("grpc.max_send_message_length", -1),  # the server says what is too large
        ("grpc.http2.max_frame_size", 2**24 - 1),  # fewer, larger reads
    ]
