"""Us and the peers: what each is, its version, how it is installed and started."""

import contextlib
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aerostack_realtime.gateway.websocket.batched_writes import open_batch, path_of
from bench.machine import BENCH, ROOT, free_port, version
from bench.servers import NotStarted, Plan, Running, running, scratch

PEERS = BENCH / "peers"
_PYTHON = BENCH / ".venv" / "bin" / "python"
_GO = PEERS / ".go"
_CENTRIFUGO = "6.9.1"
_INSTALL_S = 300
BUILD_S = 1800
"""Go builds some hundred packages, and npm SQLite, once."""


@dataclass(frozen=True)
class Contender:
    """`prepare` installs what is missing and gives the version; `plan` says how to start it, given a
    directory.
    """

    name: str
    dialect: str
    prepare: Callable[[], str]
    plan: Callable[[Path], Plan]

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """The server, while it runs. Raises NotStarted with the reason."""
        self.prepare()
        with scratch() as directory:
            plan = self.plan(directory)
            with running(plan, directory) as server:
                if plan.port is not None:
                    await_port(plan.port)
                yield server


def _install(
    command: list[str], what: str, environment: dict[str, str] | None = None, seconds: float = _INSTALL_S
) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise NotStarted(f"{what} could not be installed: {' '.join(reason)}") from error


def await_port(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise NotStarted(f"nothing listens on port {port}")


def _aerostack_version() -> str:
    found = importlib.metadata.version
    batch = open_batch("auto", lambda _: None)
    return f"{found('aerostack-realtime')} (aiohttp {found('aiohttp')}, frames by {path_of(batch)})"


def _aerostack(directory: Path) -> Plan:
    command = [str(ROOT / ".venv/bin/aerostack"), "dev", "--port", "0", "--db", str(directory / "bench.db")]
    if not Path(command[0]).exists():
        command[0] = shutil.which("aerostack") or "aerostack"
    return Plan(command, cwd=directory)


def node_version(package: str, folder: Path = PEERS, seconds: float = _INSTALL_S) -> str:
    """The version of a package in a folder. Installs it there when it is missing, within `seconds`. Raises
    NotStarted."""
    if shutil.which("node") is None:
        raise NotStarted("node is not on PATH")
    found = folder / "node_modules" / package / "package.json"
    if not found.exists():
        _install(["npm", "ci", "--prefix", str(folder)], package, seconds=seconds)
    return f"{json.loads(found.read_text())['version']} (node {version(['node', '--version'])})"


def _node(package: str) -> Callable[[], str]:
    return lambda: node_version(package)


def ensure_python(package: str, requirements: Path) -> str:
    """The version of `package` in bench/.venv, after installing `requirements` there when it is missing."""
    show = [str(_PYTHON), "-c", f"import importlib.metadata as m; print(m.version('{package}'))"]
    if version(show) == "?":
        if not _PYTHON.exists():
            _install([sys.executable, "-m", "venv", str(BENCH / ".venv")], "a virtual environment")
        _install([str(_PYTHON), "-m", "pip", "install", "-q", "-r", str(requirements)], package)
    return version(show)


def _python(package: str) -> Callable[[], str]:
    def prepare() -> str:
        requirements = PEERS / "requirements.txt"
        found = ensure_python(package, requirements)
        return f"{found} (uvicorn {ensure_python('uvicorn', requirements)})"

    return prepare


def _script(name: str, environment: dict[str, str] | None = None) -> Callable[[Path], Plan]:
    return lambda _: Plan(["node", name], cwd=PEERS, environment=environment or {})


def _asgi(module: str) -> Callable[[Path], Plan]:
    return lambda _: Plan([str(_PYTHON), "uvicorn_server.py", f"{module}:app"], cwd=PEERS)


def _nats_version() -> str:
    if shutil.which("nats-server") is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise NotStarted("no nats-server on PATH, and only root can install Debian's package")
        _install(["apt-get", "update", "-qq"], "nats-server")
        _install(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nats-server"], "nats-server")
    return version(["nats-server", "--version"])


def _nats(directory: Path) -> Plan:
    port, other = free_port(), free_port()
    settings = directory / "nats.conf"
    settings.write_text(
        f"host: 127.0.0.1\nport: {other}\n"
        f'websocket {{ host: "127.0.0.1", port: {port}, no_tls: true, compression: false }}\n'
    )
    return Plan(["nats-server", "-c", str(settings)], cwd=directory, port=port)


def _centrifugo_binary() -> str:
    """The one that is named, on PATH, or built here: the Go module proxy has its sources, checked by Go."""
    named = os.environ.get("CENTRIFUGO") or shutil.which("centrifugo")
    if named:
        return named
    built = _GO / "bin" / "centrifugo"
    if not built.exists():
        if shutil.which("go") is None:
            raise NotStarted("no centrifugo on PATH nor in CENTRIFUGO, and no go to build it")
        module = f"github.com/centrifugal/centrifugo/v{_CENTRIFUGO.split('.')[0]}"
        named_so = f"-s -w -X {module}/internal/build.Version={_CENTRIFUGO}"
        command = ["nice", "-n", "10", "go", "install", "-ldflags", named_so, f"{module}@v{_CENTRIFUGO}"]
        _install(command, "centrifugo", {"GOBIN": str(built.parent)}, BUILD_S)
    return str(built)


def _centrifugo_version() -> str:
    binary = _centrifugo_binary()
    found = subprocess.run([binary, "version"], capture_output=True, text=True, check=False).stdout
    return next((word for word in found.split() if word[:1].lower() in "v0123456789" and "." in word), "?")


def _centrifugo(directory: Path, websocket: dict[str, bool | int] | None = None) -> Plan:
    """Version 6, memory engine. `insecure` lets everyone connect, subscribe and publish without a token."""
    port = free_port()
    settings = {
        "client": {"insecure": True},
        "log": {"level": "error"},
        "http_server": {"address": "127.0.0.1", "port": port},
        "websocket": {"compression": False, "use_write_buffer_pool": True, **(websocket or {})},
    }
    path = directory / "config.json"
    path.write_text(json.dumps(settings))
    return Plan([_centrifugo_binary(), "--config", str(path)], cwd=directory, port=port)


def _compressing_centrifugo(directory: Path) -> Plan:
    """As its documentation advises where compression is needed: for messages above 1 KiB, each compressed once."""
    compression = {
        "compression": True,
        "compression_min_size": 1024,
        "compression_level": 1,
        "compression_prepared_message_cache_size": 2**20,
    }
    return _centrifugo(directory, compression)


OURS = Contender("Aerostack Realtime", "aerostack", _aerostack_version, _aerostack)
WS = Contender("node ws", "plain", _node("ws"), _script("ws.js"))
SOCKETIO = Contender("Socket.IO", "socket.io", _node("socket.io"), _script("socketio.js"))
PYTHON_SOCKETIO = Contender("python-socketio", "socket.io", _python("python-socketio"), _asgi("socketio_app"))
FASTAPI = Contender("FastAPI broadcast loop", "plain", _python("fastapi"), _asgi("fastapi_app"))
NATS = Contender("NATS over WebSocket", "nats", _nats_version, _nats)
CENTRIFUGO = Contender("Centrifugo", "centrifugo", _centrifugo_version, _centrifugo)
COMPRESSING = (
    OURS,
    Contender("node ws", "plain", _node("ws"), _script("ws.js", {"COMPRESSION": "1"})),
    Contender("Centrifugo", "centrifugo", _centrifugo_version, _compressing_centrifugo),
)
"""Those that compress, with compression: for clients that offer it."""

CONTENDERS = (OURS, WS, SOCKETIO, PYTHON_SOCKETIO, FASTAPI, NATS, CENTRIFUGO)
