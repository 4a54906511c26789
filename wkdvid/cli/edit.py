"""``wkdvid edit``: change what is written of a dataset of a running server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from wkdvid.cli.remote import RunningServer, add_server_arguments, dataset_key, dataset_path
from wkdvid.errors import ConfigError

NAME = "edit"
HELP = "change the options of a dataset, or show them"
EXAMPLES = """\
A value is JSON, or else text; without one the option is taken out. layers.LAYER.OPTION is an option of a layer.
Secrets are shown as "(kept)" and stay as they are.

examples:
  wkdvid edit lab/brain                                   show the entry
  wkdvid edit lab/brain public=false note="Adult fly"
  wkdvid edit lab/brain layers.em.type=segmentation note=
"""
TEXTS = frozenset({"note", "clio_name", "uuid", "dataset_id"})
"""Options whose values are text, whatever they look like."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="ORG/DATASET")
    parser.add_argument("changes", metavar="OPTION=VALUE", nargs="*")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    key = dataset_key(args.dataset)
    server, path = RunningServer.of(args), f"entries/{dataset_path(key)}"
    entry = json.loads(server.ask("GET", path, below="/api"))
    options = entry["options"]
    if not args.changes:
        print(json.dumps({entry["backend"]: {key.organization: {key.dataset: options}}}, indent=2))
        return 0
    for text in args.changes:
        put_option(options, text)
    server.ask("PUT", path, {"options": options, "tag": entry["tag"]}, below="/api")
    print(f"{key}: changed")
    return 0


def put_option(options: dict[str, Any], text: str) -> None:
    """
    Raises:
        ConfigError: it is not OPTION=VALUE, or of a layer that is not listed.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{text!r} is not OPTION=VALUE")
    place, option = options, name
    if name.startswith("layers.") and "." in (rest := name.removeprefix("layers.")):
        layer, _, option = rest.rpartition(".")
        place = _layer(options, layer)
    if value:
        place[option] = value if option in TEXTS else _value(value)
    else:
        place.pop(option, None)


def _layer(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    layers = options.get("layers", {})
    if not isinstance(layers.get(name), dict):
        raise ConfigError(f"the entry lists no layer {name!r}; it lists {', '.join(map(repr, layers)) or 'none'}")
    layer: dict[str, Any] = layers[name]
    return layer


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
