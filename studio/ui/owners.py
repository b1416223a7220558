"""Who asks: the one user of a local studio, or a visitor known by a signed random id kept in the browser.

The token `id.signature` is a bearer secret made by the server (security.md 4); only the id travels on as
`owner`. The same key signs picture addresses, so that a picture is served only to those who were given one.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from studio.errors import Refused

LOCAL = "local"
_TOKEN = re.compile(r"(v[0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class Owners:
    """Issues and checks owner tokens. `home`: folder of the key (owner.key, 32 random bytes)."""

    def __init__(self, home: Path, *, public: bool) -> None:
        self.public = public
        self._key = _key(home / "owner.key")

    def issue(self) -> str:
        """A token for a new visitor; empty in a local studio, where nobody needs one."""
        if not self.public:
            return ""
        owner = "v" + secrets.token_hex(16)
        return f"{owner}.{self.sign(owner)}"

    def owner(self, token: object) -> str:
        """The owner id behind a token. Raises Refused for a token this server did not make."""
        if not self.public:
            return LOCAL
        match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if match is None or not hmac.compare_digest(self.sign(match[1]), match[2]):
            raise Refused("This page is not signed in to the studio.", hint="Reload the page.")
        return match[1]

    def knows(self, token: object) -> bool:
        try:
            self.owner(token)
        except Refused:
            return False
        return True

    def sign(self, text: str) -> str:
        """HMAC-SHA256 of `text` under this studio's key, as 64 hex digits."""
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def signed(self, text: str, signature: str) -> bool:
        return hmac.compare_digest(self.sign(text).encode(), signature.encode())


def _key(path: Path) -> bytes:
    """The stored key, made at first use; a key of this process alone where the home cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError:
        return secrets.token_bytes(32)
    key = path.read_bytes()
    return key if len(key) == 32 else secrets.token_bytes(32)
