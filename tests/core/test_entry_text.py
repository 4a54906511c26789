"""What is shown of an entry, and what becomes of the secrets in it."""

from __future__ import annotations

import json
from typing import Any

from wkdvid.core.entry_text import KEPT, entry_text, tag_of, with_kept

ACCOUNT = {"client_email": "a", "private_key": "the key", "token_uri": "b"}
STORED = {
    "credentials": ACCOUNT,
    "token": "$TOKEN",
    "layers": {"em": {"password": "plain", "source": "x"}, "ids": {"credentials": "file:/key.json"}},
}


def test_secrets_are_not_shown_and_references_are() -> None:
    shown = entry_text("boss", STORED)
    assert shown.options == {
        "credentials": KEPT,
        "token": "$TOKEN",
        "layers": {"em": {"password": KEPT, "source": "x"}, "ids": {"credentials": "file:/key.json"}},
    }
    assert "the key" in json.dumps(STORED)
    assert shown.tag == tag_of(STORED) != tag_of(shown.options)


def test_what_was_not_shown_is_kept() -> None:
    shown = dict(entry_text("boss", STORED).options)
    assert with_kept(shown, STORED) == STORED
    changed = {**shown, "credentials": "$OTHER", "layers": {"em": shown["layers"]["em"], "new": {"token": KEPT}}}
    assert with_kept(changed, STORED) == {
        "credentials": "$OTHER",
        "token": "$TOKEN",
        "layers": {"em": STORED["layers"]["em"], "new": {"token": KEPT}},  # type: ignore[index]
    }


def test_entries_of_any_form_are_taken() -> None:
    odds: list[dict[str, Any]] = [{"layers": []}, {"layers": {"em": 7}}, {"credentials": None}]
    for odd in odds:
        assert with_kept(entry_text("n5", odd).options, odd) == odd
