"""A PostgreSQL server that accepts network connections with TLS only."""

from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.authority import Authority
from tests.postgres import PostgresServer

HOST: Final = "db.test"
"""The name in the server's certificate; no resolver knows it, so addresses say where it is."""
SETTINGS: Final = {"ssl": "on", "ssl_ca_file": "root.crt"}
ADMISSION: Final = """
local all postgres trust
hostssl all postgres 127.0.0.1/32 trust
hostssl all ann 127.0.0.1/32 scram-sha-256
hostssl all bob 127.0.0.1/32 cert
"""


class EncryptedServer(PostgresServer):
    """Its certificate is of `authority`, which also signs those of its clients. It is started when it is made."""

    def __init__(self, authority: Authority, *, expired: bool = False) -> None:
        super().__init__(tcp=True, settings=SETTINGS)
        self._authority = authority
        authority.issue(HOST, self.data / "server.crt", self.data / "server.key", expired=expired)
        (self.data / "root.crt").write_bytes(authority.certificate.read_bytes())
        (self.data / "pg_hba.conf").write_text(ADMISSION)
        self.own_files()
        self.start()

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return self.address(database, user, sslmode="verify-full")

    def address(self, database: str = "postgres", user: str = "postgres", *, host: str = HOST, **ssl: str) -> str:
        """With libpq's parameters; `sslrootcert` is the authority's unless another one is given."""
        given = {"sslrootcert": str(self._authority.certificate), "hostaddr": "127.0.0.1", "host": host} | ssl
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        return f"postgresql://{user}@/{database}?port={self.port}&{query}"


def client_certificate(authority: Authority, place: Path, user: str) -> dict[str, str]:
    """Make a user's certificate; libpq's parameters that name it and its key."""
    certificate, key = place / f"{user}.crt", place / f"{user}.key"
    authority.issue(user, certificate, key)
    return {"sslcert": str(certificate), "sslkey": str(key)}
