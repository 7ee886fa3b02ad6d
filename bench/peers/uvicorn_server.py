"""Serves an ASGI application on a free port: `python uvicorn_server.py module:app`.

uvicorn as its documentation advises for speed: uvloop, httptools, no access log, no compression.
"""

import os
import socket
import sys

import uvicorn  # type: ignore[import-not-found, unused-ignore]


def main(application: str, websockets: str) -> None:
    """Listen, say where, serve."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws=websockets,
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1], os.environ.get("BENCH_WEBSOCKETS", "websockets-sansio"))
