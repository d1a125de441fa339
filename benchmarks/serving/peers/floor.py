"""The floor: uvicorn and a raw ASGI application that reads the body and answers a constant of the
size of Laurel's answer.

    uvicorn benchmarks.serving.peers.floor:app

``POST /100`` answers as Laurel does for 100 rows. No server in Python on this HTTP stack can be
faster."""

from typing import Any

ONE = b'{"id":"19aa3f2c1b0-4fa2c1-0000002a","score":0.11727778455225203,"decision":false}'


def answer(rows: int) -> bytes:
    return (
        b'{"predictions":['
        + b",".join([ONE] * rows)
        + b'],"model_version":"1","use_case":"flights"}'
    )


ANSWERS = {f"/{rows}": answer(rows) for rows in (1, 100, 1000)}
STARTS = {
    path: {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    for path, body in ANSWERS.items()
}
BODIES = {path: {"type": "http.response.body", "body": body} for path, body in ANSWERS.items()}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return  # no lifespan: uvicorn goes on without
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    await send(STARTS[path])
    await send(BODIES[path])
