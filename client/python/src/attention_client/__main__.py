"""python -m attention_client demo"""

from __future__ import annotations

import argparse
import os
import sys

from attention_client import demo
from attention_client.channel import Tls
from attention_client.client import Client
from attention_client.errors import AttentionError


def main(arguments: list[str] | None = None) -> int:
    """0 if all is well, 1 if a number differs or the server does not answer; 2,
    from argparse, for arguments that make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m attention_client",
        description="Client of the attention service.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "demo", help="replay the chapter and check every number",
        description="Replays the chapter's examples against a server and checks "
        "every number. Their weight sets are named chapter/...; a second replay "
        "appends nothing.")
    command.add_argument(
        "--target", default=os.environ.get("ATTENTION_TARGET", "localhost:50051"),
        help="host:port of the server, or unix:PATH (ATTENTION_TARGET; now %(default)s)")
    command.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS",
                         help="of each call (%(default)s)")
    command.add_argument("--tls-ca", metavar="FILE", help="speak TLS with a "
                         "server whose certificate comes from these authorities")
    command.add_argument("--tls-cert", metavar="FILE",
                         help="certificate to show the server")
    command.add_argument("--tls-key", metavar="FILE", help="its private key")
    options = parser.parse_args(arguments)

    files = {"ca": options.tls_ca, "cert": options.tls_cert,
             "key": options.tls_key}
    try:
        tls = Tls(**files) if any(files.values()) else None
        with Client(options.target, tls=tls) as client:
            return 1 if demo.replay(client, timeout=options.timeout) else 0
    except (AttentionError, OSError, ValueError) as error:
        print(f"attention_client: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
