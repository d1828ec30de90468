"""Ask the service in this container whether it lives: exit code 0, or 1."""

from __future__ import annotations

import os
import socket
import sys

HOST = os.environ.get("ALLOWED_HOSTS", "localhost").partition(",")[0]
ASK = f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()

with socket.socket(socket.AF_UNIX) as conn:
    conn.settimeout(2)
    conn.connect(os.environ["BIND"].removeprefix("unix:"))
    conn.sendall(ASK)
    sys.exit(0 if b" 200 " in conn.recv(64) else 1)
