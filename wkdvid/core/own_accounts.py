"""Google service accounts that entries bring along (``credentials``, as webknossos-connect has it).

Each is for the Google buckets of its own dataset, and for nothing else. Where the catalog is written, the keys in it
are put away: each into a file of the state folder that the entry then refers to. The file's name is a hash of dataset
and key, so that no other dataset can refer to it, nor anybody guess it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from wkdvid.core.entries import DatasetKey, Document, list_entries
from wkdvid.core.secrets import Reference, Secrets
from wkdvid.core.service_account import KEY_MEMBERS, Key, ServiceAccount, is_key
from wkdvid.core.variables import expand
from wkdvid.errors import InvalidRequest

FOLDER = "credentials"
"""Of the state folder."""
OPTION = "credentials"

USED = KEY_MEMBERS | {"private_key_id"}
"""Of a key. By others, such as ``universe_domain``, it could have the server ask hosts of its choice."""

_PREFIX = f"file:.wkdvid/{FOLDER}/"
_KEPT = re.compile(re.escape(_PREFIX) + r"([0-9a-f]{64}\.json)")


def put_away(document: Document) -> Mapping[str, Document]:
    """Replace every key in a document by a reference.

    Returns:
        By their names, the files that have to hold the keys.
    """
    files: dict[str, Document] = {}
    for dataset, options in holders(document):
        if isinstance(key := options.get(OPTION), dict):
            name = _file_name(dataset, key)
            files[name] = key
            options[OPTION] = f"{_PREFIX}{name}"
    return files


def files_of(document: Document) -> frozenset[str]:
    """Names of the files that a document refers to."""
    found = (_KEPT.fullmatch(str(options.get(OPTION))) for _, options in holders(document))
    return frozenset(one[1] for one in found if one)


def holders(document: Document) -> Iterator[tuple[DatasetKey, dict[str, Any]]]:
    """What in a document may hold credentials: each entry and the layers in it, with the name of the dataset."""
    for _, dataset, entry in list_entries(document):
        layers = entry.get("layers") if isinstance(entry, dict) else None
        for options in (entry, *(layers.values() if isinstance(layers, dict) else ())):
            if isinstance(options, dict):
                yield dataset, options


def _file_name(dataset: DatasetKey, key: object) -> str:
    return hashlib.sha256(f"{dataset}\n{json.dumps(key)}".encode()).hexdigest() + ".json"


class OwnAccounts:
    """The accounts of datasets that are open, each with its token."""

    def __init__(
        self,
        secrets: Secrets,
        variables: Mapping[str, str],
        check_token_address: Callable[[str], None],
        folder: Path | None,
    ) -> None:
        """
        Args:
            variables: Of the environment, those that stand for their values in the text of keys.
            check_token_address: Raises InvalidRequest where tokens may not be asked for there.
            folder: Holds what is put away; None: nothing is.
        """
        self._secrets = secrets
        self._variables = variables
        self._check_token_address = check_token_address
        self._folder = folder
        self._known: WeakValueDictionary[tuple[DatasetKey, str], ServiceAccount] = WeakValueDictionary()

    def of(self, dataset: DatasetKey, credentials: Key | Reference) -> Callable[[str], ServiceAccount]:
        """From the address of a Google bucket to the account that the dataset reads it with.

        Raises:
            InvalidRequest: the key that was put away is gone. What is returned raises it too: a reference that is not
                granted for the address, or refers to no key.
        """
        kept = _KEPT.fullmatch(credentials) if isinstance(credentials, str) else None
        if isinstance(credentials, str) and kept is None:
            return lambda url: self._account(dataset, self._secrets.read(credentials, url))
        text = json.dumps(credentials) if kept is None else self._kept(dataset, kept[1])
        return lambda url: self._account(dataset, text)

    def _kept(self, dataset: DatasetKey, name: str) -> str:
        try:
            key = json.loads((self._folder / name).read_bytes()) if self._folder is not None else None
        except (OSError, ValueError):
            key = None
        if _file_name(dataset, key) != name:
            raise InvalidRequest(f"credentials: the key of {dataset} is not there any more; register it with its key")
        return json.dumps(key)

    def _account(self, dataset: DatasetKey, text: str) -> ServiceAccount:
        account = self._known.get((dataset, text))
        if account is None:
            key = self._key(text)
            account = ServiceAccount(lambda: key, str(dataset))
            self._known[dataset, text] = account
        return account

    def _key(self, text: str) -> Key:
        try:
            key = expand(json.loads(text), self._variables, frozenset())
        except (ValueError, RecursionError):
            key = None
        if not is_key(key):
            raise InvalidRequest("credentials: not the JSON key of a Google service account")
        self._check_token_address(key["token_uri"])
        return {name: text for name, text in key.items() if name in USED}
