"""How the canary reaches its own node: over HTTP, with a key of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any

from taximeter.adapters.client import Client
from taximeter.adapters.http.auth import new_key
from taximeter.ports import ApiKey, Books
from taximeter.services.canary import NAMESPACE, Ask

KEY_FILE = "canary.key"


def canary_key(data: Path, books: Books, now: int) -> str:
    """The secret of the canary's key, kept like the owner's; made if there is none that works."""
    path = data / KEY_FILE
    every = books.keys()
    known = {key.digest for key in every if key.namespace == NAMESPACE and not key.revoked_at}
    if path.exists():
        secret = path.read_text().strip()
        if sha256(secret.encode()).digest() in known:
            return secret
    secret, digest = new_key()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    books.add_key(
        ApiKey(
            id=f"key_{secrets.token_hex(8)}",
            namespace=NAMESPACE,
            name="canary",
            prefix=secret[:8],
            digest=digest,
            scopes=("admin",),
            created_at=now,
        )
    )
    return secret


def asking(host: str, port: int, key: str) -> Ask:
    """Requests from a thread, so that the node goes on meanwhile: it is who answers them."""
    reachable = "127.0.0.1" if host in ("0.0.0.0", "", "::") else host
    url = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    client = Client(url, key, timeout_s=30.0, patience_s=5.0)

    async def ask(method: str, path: str, body: Any = None, **query: Any) -> Any:
        if method == "GET":
            return await asyncio.to_thread(client.get, path, **query)
        call = client.put if method == "PUT" else client.post
        return await asyncio.to_thread(call, path, body, **query)

    return ask
