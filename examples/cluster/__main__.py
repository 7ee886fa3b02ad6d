"""A cluster on one machine: PostgreSQL, Redis, three nodes, and nginx in front of them.

`.venv/bin/python -m examples.cluster`, in a clone after `make install`, starts them; it needs the programs
postgres, redis-server and nginx. Open the printed address in several tabs: each shows its node. End a node's
process, and its tabs continue on another one. Ctrl-c ends everything.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from tests.ports import free_port
from tests.postgres import PostgresServer
from tests.redis import RedisServer

NODES: Final = 3
START_SECONDS: Final = 60.0
HERE: Final = Path(__file__).parent
NGINX: Final = """
daemon off;
pid "{place}/nginx.pid";
error_log "{place}/nginx.log";
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path "{place}/body";
    proxy_temp_path "{place}/proxy";
    fastcgi_temp_path "{place}/fastcgi";
    uwsgi_temp_path "{place}/uwsgi";
    scgi_temp_path "{place}/scgi";
    types {{ text/html html; text/javascript js; }}
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    map $upstream_addr $node {{ default $upstream_addr; "~, ([^ ,]+)$" $1; }}
    upstream nodes {{
        least_conn;
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_connect_timeout 2s;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_read_timeout 120s;
        proxy_next_upstream error timeout http_503;
        location = / {{ root "{page}"; try_files /index.html =404; }}
        location = /api/realtime {{
            proxy_pass http://nodes;
            add_header Set-Cookie "node=$node; Path=/" always;
        }}
        location / {{ proxy_pass http://nodes; }}
    }}
}}
"""


class Machine:
    """Everything that runs, in the order of its start."""

    def __init__(self, place: Path, port: int) -> None:
        self.port = port
        self._place = place
        self._stack = ExitStack()

    def start(self) -> None:
        postgres = PostgresServer.started(tcp=True)
        self._stack.callback(postgres.remove)
        redis = RedisServer.started()
        self._stack.callback(redis.remove)
        ports = [free_port() for _ in range(NODES)]
        for port in ports:
            program = [sys.executable, "-c", "from aerostack_realtime.cli import main; main()"]
            options = ["dev", "--port", str(port), "--db", postgres.dsn(), "--backplane", redis.url]
            with (self._place / f"node-{port}.log").open("wb") as log:
                self._run([*program, *options], log=log.fileno())
        for port in ports:
            _wait_for(f"http://127.0.0.1:{port}/readyz")
            say(f"node 127.0.0.1:{port} is ready")
        servers = "\n".join(f"        server 127.0.0.1:{port} max_fails=0;" for port in ports)
        configuration = self._place / "nginx.conf"
        configuration.write_text(NGINX.format(place=self._place, servers=servers, port=self.port, page=HERE))
        self._run(["nginx", "-c", str(configuration), "-e", str(self._place / "nginx.log")])
        _wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def close(self) -> None:
        self._stack.close()

    def _run(self, command: list[str], log: int | None = None) -> None:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        say(f"process {process.pid}: {' '.join(command[-6:])}")
        self._stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def _wait_for(url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit(f"error: {url} did not answer within {START_SECONDS:.0f} seconds; see the logs.")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m examples.cluster", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="nginx's; 0 picks a free one")
    port = parser.parse_args().port or free_port()
    place = Path(tempfile.mkdtemp(prefix="cluster-"))
    place.chmod(0o755)
    machine = Machine(place, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        machine.start()
        say(f"the cluster is at http://127.0.0.1:{port}; stop with ctrl-c")
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        machine.close()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
