"""A real SMTP server (aiosmtpd) on loopback that can refuse a recipient, drop the line, or ask for a password."""

from __future__ import annotations

import socket
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


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
    ) -> None:
        self.refuse, self.drop, self.data_answer = refuse or {}, drop, data_answer
        self.accepted: list[tuple[str, bytes]] = []
        self.logins: list[tuple[str, str]] = []
        more: dict[str, Any] = {}
        if password is not None:
            more = {"authenticator": self._check(password), "auth_require_tls": False}
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **more)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    def _check(self, password: str) -> Any:
        def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            self.logins.append((data.login.decode(), data.password.decode()))
            return AuthResult(success=data.password.decode() == password, handled=False)

        return authenticate

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.drop == "rcpt":
            server.transport.close()
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_answer.startswith("250"):
            self.accepted += [(recipient, envelope.content) for recipient in envelope.rcpt_tos]
        if self.drop == "data":
            server.transport.close()
        return self.data_answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return "421 going away" if self.drop == "quit" else "221 Bye"
