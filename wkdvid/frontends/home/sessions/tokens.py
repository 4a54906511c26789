"""What somebody pastes to sign in, and where that leads."""

from __future__ import annotations

import re

LONGEST = 4000
"""Characters: browsers keep no cookie of more than 4096 bytes."""
_TOKEN = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""What a cookie may hold (RFC 6265, 4.1.1)."""
_ADDRESS = re.compile(r"[A-Za-z0-9_.~%/@$!*'()+,;=&?-]{0,2000}")


def problem_of(token: str) -> str | None:
    if not token:
        return "Paste a token."
    if len(token) > LONGEST or not _TOKEN.fullmatch(token):
        return f"This is not a token: up to {LONGEST} letters, digits and signs, without spaces."
    return None


def where_next(address: str) -> str:
    """The page of ours that an address means, relative to the root; the first one for all else."""
    return address if _ADDRESS.fullmatch(address) and not address.startswith("/") else ""
