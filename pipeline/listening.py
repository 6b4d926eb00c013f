"""A listening socket for our small servers."""

import socket

from pipeline.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int, table: str) -> socket.socket:
    """A listening socket where the run file's table says.

    Args:
        port: 0 for any that is free.
        table: of the run file, for the error.
    Raises: ConfigError if the address cannot be used.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        hint = f"choose another with --set {table}.port={port + 1}"
        raise ConfigError(f"[{table}] {host}:{port}: {error.strerror}; {hint}") from error
