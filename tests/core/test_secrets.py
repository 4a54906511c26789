"""Secrets that entries refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from wkdvid.core.secrets import Secrets
from wkdvid.errors import InvalidRequest

HOST = "https://api.lab.org/"


def secrets(reference: str = "$TOKEN", *prefixes: str) -> Secrets:
    return Secrets({reference: prefixes or (HOST,)}, {"TOKEN": "hush", "EMPTY": ""})


@pytest.mark.parametrize("prefix", [HOST, "https://api.lab.org", "https://api.lab.org/v1", "https://api.lab.org/v1/"])
def test_secret_of_the_environment(prefix: str) -> None:
    assert secrets("$TOKEN", "https://elsewhere.org/", prefix).read("$TOKEN", f"{HOST}v1/") == "hush"


def test_braces_mean_the_same_variable() -> None:
    assert secrets("$TOKEN").read("${TOKEN}", f"{HOST}v1/") == "hush"
    with pytest.raises(InvalidRequest, match=r"\$OTHER is not granted"):
        secrets("$TOKEN").read("${OTHER}", HOST)


def test_secret_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush\n")
    assert secrets(f"file:{file}").read(f"file:{file}", HOST) == "hush"


@pytest.mark.parametrize(
    "url", ["https://api.lab.org.evil.com/", "http://api.lab.org/", "https://api.lab.orgy/", "https://evil.com/"]
)
def test_secret_is_for_the_granted_addresses_alone(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"\$TOKEN is not granted for .*sources\.secrets"):
        secrets().read("$TOKEN", url)
    with pytest.raises(InvalidRequest, match="not granted"):
        secrets().read("$OTHER", HOST)


@pytest.mark.parametrize("text", ["hush", "", None, 7, ["$TOKEN"]])
def test_secret_in_the_clear_is_refused_and_not_shown(text: object) -> None:
    with pytest.raises(InvalidRequest, match="does not stand in an entry") as refused:
        secrets().read(text, HOST)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("reference", ["$EMPTY", "$MISSING", "file:/nowhere/token", "file:", "file:/"])
def test_secret_that_is_not_there(reference: str) -> None:
    with pytest.raises(InvalidRequest, match="there is no such secret"):
        secrets(reference).read(reference, HOST)
