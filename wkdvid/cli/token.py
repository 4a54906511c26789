"""``wkdvid token``: tokens for users, made without a running server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from wkdvid.cli.accounts import OPERATOR, add_database_arguments, with_identities
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.identity.chain import Identities

NAME = "token"
HELP = "make or revoke users' tokens"
EXAMPLES = """\
A token is a JWT, which says whose it is; --opaque makes a random text, of which the server keeps the hash alone.

examples:
  wkdvid token mint --email ada@lab.org --days 90
  wkdvid token mint --email robot@lab.org --opaque --label "nightly export"
  wkdvid token revoke --email ada@lab.org
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("act", choices=("mint", "revoke"), help="revoke: all that the user has until now")
    parser.add_argument("--email", required=True, help="whose it is")
    parser.add_argument("--days", type=float, default=21.0, help="how long it counts (default: 21)")
    parser.add_argument("--opaque", action="store_true", help="a random text instead of a JWT")
    parser.add_argument("--label", default="", help="of an opaque one, to know it by")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if "@" not in args.email:
        raise ConfigError(f"--email: {args.email!r} is no email address")
    if not args.days > 0:
        raise ConfigError(f"--days: {args.days} is not above 0")
    email = args.email.lower()

    async def act(identities: Identities) -> str:
        if args.act == "revoke":
            await identities.users.revoke_tokens(email, OPERATOR)
            return f"{email}: no token that was made until now counts any more"
        return await identities.new_token(email, args.days, opaque=args.opaque, label=args.label)

    print(with_identities(args, act))
    return 0
