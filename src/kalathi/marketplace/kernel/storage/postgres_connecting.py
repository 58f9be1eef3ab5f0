"""The settings of every connection to PostgreSQL: both sides notice a server or a process that vanishes."""

from typing import Any, Final

import psycopg
from psycopg import Connection

CONNECT_SECONDS: Final = 5
# Notice a server that vanished without closing the connection within half a minute.
KEEPALIVE: Final[dict[str, Any]] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# On the server's side: a transaction of an unreachable process must not keep its rows locked.
OF_EACH_CONNECTION: Final = (
    "SET idle_in_transaction_session_timeout = 20000; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;"
    " SET tcp_keepalives_count = 3"
)


def set_up(connection: Connection[Any], settings: str = OF_EACH_CONNECTION) -> None:
    """Run the settings of a new connection, or close it. Raises psycopg.Error."""
    try:
        connection.execute(settings.encode())
    except psycopg.Error:
        connection.close()
        raise
