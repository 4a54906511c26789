"""``wkdvid link``: share a dataset of a running server, or a layer of it, with whoever has the link."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from wkdvid.cli.remote import RunningServer, add_server_arguments, dataset_key
from wkdvid.cli.text import columns, printable
from wkdvid.errors import ConfigError

NAME = "link"
HELP = "make, list or revoke links that share a dataset, or a layer of it"
EXAMPLES = """\
Whoever has a link reads what it shares, in the browser and with every client, until it expires or is revoked.

examples:
  wkdvid link lab/brain                    all of it, for 7 days
  wkdvid link lab/brain/em --days 30       one layer
  wkdvid link list                         all links; or those of lab/brain
  wkdvid link revoke 0123456789abcdef
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="ORG/DATASET[/LAYER]|list|revoke", help="what to share, or what else to do")
    parser.add_argument("which", nargs="?", metavar="ID|ORG/DATASET", help="to revoke; of which to list (default: all)")
    parser.add_argument("--days", type=float, help="how long it counts (default: 7)")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    server = RunningServer.of(args)
    if args.what == "list":
        query = f"?dataset={quote(str(dataset_key(args.which)), safe='')}" if args.which else ""
        links = json.loads(server.ask("GET", f"links{query}", below="/api"))
        print("\n".join(columns([_row(link) for link in links])) if links else "no links")
    elif args.what == "revoke":
        if not args.which:
            raise ConfigError("'revoke' takes the id of a link; 'wkdvid link list' shows them")
        link = json.loads(server.ask("DELETE", f"links/{quote(args.which, safe='')}", below="/api"))
        print(printable(f"{_scope(link)}: link {link['id']} revoked"))
    else:
        link = json.loads(server.ask("POST", "links", _wanted(args), below="/api"))
        print(printable(f"{_scope(link)}: link {link['id']}, until {link['expires']}"))
        print(printable(link["url"]))
    return 0


def _wanted(args: argparse.Namespace) -> Mapping[str, Any]:
    parts = args.what.split("/")
    if args.which is not None or len(parts) not in (2, 3):
        raise ConfigError(f"{args.what!r} is not 'list', 'revoke', ORGANIZATION/DATASET or ORGANIZATION/DATASET/LAYER")
    layer = {"layer": parts[2]} if len(parts) == 3 else {}
    days = {} if args.days is None else {"days": args.days}
    return {"dataset": "/".join(parts[:2]), **layer, **days}


def _scope(link: Mapping[str, Any]) -> str:
    return f"{link['dataset']}/{link['layer']}" if link["layer"] else str(link["dataset"])


def _row(link: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return link["id"], _scope(link), f"until {link['expires']}", link["by"]
