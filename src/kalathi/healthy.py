"""Ask a server on this machine whether it works, as the health check of a container image.

    python -m kalathi.healthy KALATHI_PORT

The argument names the variable with the port. The exit status is 0 if `/healthz` answers with 200 within two seconds.
It imports nothing that is slow, because it runs every few seconds.
"""

import http.client
import os
import sys
from typing import Final

_SECONDS: Final = 2.0


def is_healthy(port: int) -> bool:
    """Return whether the server on this port of the loopback interface is healthy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_healthy(int(os.environ[sys.argv[1]])) else 1)
