"""A real SMTP server (aiosmtpd) on loopback that can refuse a recipient, drop the line, ask for a password, or speak TLS."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """Keeps what it accepted."""

    def __init__(
        self,
        *,
        refuse: dict[str, str] | None = None,
        drop: str | None = None,
        data_answer: str = "250 OK",
        password: str | None = None,
        times: int | None = None,
        size: int | None = None,
        tls: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
    ) -> None:
        """`times`: how often it misbehaves before it behaves; `None`: always."""
        self.refuse, self.drop, self.data_answer = refuse or {}, drop, data_answer
        self.left = times
        self.accepted: list[tuple[str, bytes]] = []
        self.tried: list[str] = []
        self.secured: list[bool] = []
        self.logins: list[tuple[str, str]] = []
        more: dict[str, Any] = {}
        if password is not None:
            more = {"authenticator": self._check(password), "auth_require_tls": starttls is not None}
        if starttls is not None:
            more |= {"tls_context": starttls, "require_starttls": True}
        if size is not None:
            more["data_size_limit"] = size
        if tls is not None:
            more["ssl_context"] = tls
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **more)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    def _misbehaves(self) -> bool:
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0

    def _check(self, password: str) -> Any:
        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            self.logins.append((data.login.decode(), data.password.decode()))
            return AuthResult(success=data.password.decode() == password, handled=False)

        return authenticate

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        self.tried.append(address)
        if self.drop == "rcpt" and self._misbehaves():
            server.transport.close()
        if address in self.refuse and self._misbehaves():
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = self.data_answer if self.data_answer.startswith("250") or self._misbehaves() else "250 OK"
        if answer.startswith("250"):
            self.accepted += [(recipient, envelope.content) for recipient in envelope.rcpt_tos]
            self.secured.append(server.transport.get_extra_info("sslcontext") is not None)
        if self.drop == "data" and self._misbehaves():
            server.transport.close()
        return answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return "421 going away" if self.drop == "quit" else "221 Bye"


class Authority:
    """A certificate authority of the tests' own, and a server certificate that it signed (RFC 5280)."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        self.file = folder / "ca.pem"
        authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        root = _certificate(issuer, issuer, authority_key.public_key(), authority_key, ca=True, names=[])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = _certificate(subject, issuer, server_key.public_key(), authority_key, ca=False, names=[name])
        self.file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        pair = folder / "server.pem"
        key = server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pair.write_bytes(key + leaf.public_bytes(serialization.Encoding.PEM))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair)


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: Any, signer: Any, *, ca: bool, names: list[str]
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=ca, crl_sign=ca, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    built = built.add_extension(usage, critical=True)
    if names:
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    return built.sign(signer, hashes.SHA256())
