"""The Hugging Face hub: whether it may be asked, whether it answers, and what its errors mean."""

from __future__ import annotations

import os
from pathlib import Path

SECONDS = 5  # that the hub may take to answer


def why_not(error: Exception, revision: str | None) -> str:
    """What the hub's error means, in words."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision}"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository, or it needs a login (hf auth login)"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def offline() -> bool:
    """Whether the user has forbidden to ask the hub."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")


def reachable() -> bool:
    """Whether the hub's machine answers at all: the libraries' own retries take most of a minute to find out."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub.constants import ENDPOINT

    place = urlsplit(ENDPOINT)
    if place.scheme in getproxies():
        return True  # the proxy will say
    try:
        with socket.create_connection(
            (place.hostname or "", place.port or (80 if place.scheme == "http" else 443)), timeout=SECONDS
        ):
            return True
    except OSError:
        return False


def commit_of(path: str) -> str | None:
    """The commit in the path of a file of the hub's cache: .../snapshots/<commit>/<file>."""
    parts = Path(path).parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
