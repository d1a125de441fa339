"""``python -m serving.health <port>``: exit code 0 if the service of this container answers.
Docker's health check runs it.

It imports next to nothing, because it runs every few seconds for the life of the container."""

import http.client
import sys

_TIMEOUT_SECONDS = 3.0


def is_healthy(port: int) -> bool:
    """Whether ``/health`` on this machine answers 200. A refused or dropped connection counts as
    no.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        print(
            "usage: python -m serving.health <port>, the port on which the service listens",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(not is_healthy(int(sys.argv[1])))
