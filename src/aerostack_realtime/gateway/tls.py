"""TLS: a certificate and its key, which can be replaced while the server runs."""

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class Certificate:
    """The files of a certificate chain and its key. Raises ValueError when they cannot be used."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self.context = self._load(self._new())

    def check(self) -> None:
        """Raises ValueError when what is in the files now cannot be used."""
        self._load(self._new())

    def reload(self) -> None:
        """Use the present files for new connections; if they are invalid, keep the certificate in use."""
        try:
            self._load(self._new())
            self._load(self.context)
        except ValueError as error:
            log.error("the certificate was not replaced: %s", error)
        else:
            log.info("the certificate was replaced by what is in %s now", self._files[0])

    @staticmethod
    def _new() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        certificate, key = self._files
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ValueError(f"cannot use the certificate {certificate} with the key {key}: {error}") from None
        return context


def _no_password() -> str:
    """OpenSSL would ask for one on the terminal."""
    raise ValueError("the key is encrypted; store it without a password, readable by the server alone")
