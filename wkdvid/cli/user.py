"""``wkdvid user``: users and their roles, without a running server."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from wkdvid.cli.accounts import OPERATOR, add_database_arguments, with_identities
from wkdvid.cli.text import columns, complain
from wkdvid.core.users import User, with_role
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.identity.chain import Identities

NAME = "user"
HELP = "users and their roles"
EXAMPLES = """\
Roles: clio_read (sees a dataset), clio_general (keeps annotations of one's own too), clio_write (changes those of
others), dataset_admin; admin (everything). Any other name is kept for whoever asks for it.

examples:
  wkdvid user add ada@lab.org --name "Ada L."
  wkdvid user role ada@lab.org clio_write --dataset lab/brain
  wkdvid user role ada@lab.org admin --remove
  wkdvid user list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("act", choices=("add", "role", "remove", "list"))
    parser.add_argument("email", nargs="?")
    parser.add_argument("role", nargs="?", help="to give, with 'role'")
    parser.add_argument("--dataset", metavar="ORG/DATASET", help="on which (default: everywhere)")
    parser.add_argument("--remove", action="store_true", help="take the role away")
    parser.add_argument("--name", help="of a person, with 'add'")
    parser.add_argument("--group", action="append", default=[], help="with 'add'; may be given more than once")
    add_database_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.act != "list" and "@" not in (args.email or ""):
        raise ConfigError(f"EMAIL: {args.email!r} is no email address")
    if (args.act == "role") != (args.role is not None):
        raise ConfigError("ROLE: needed by 'role', and by nothing else")

    async def act(identities: Identities) -> int:
        users, email = identities.users, (args.email or "").lower()
        if args.act == "list":
            rows = [(user.email, _roles(user)) for user in await users.all()]
            print("\n".join(columns(rows)) if rows else "no users")
            return 0
        if args.act == "remove":
            if await users.remove(email, OPERATOR):
                return 0
            complain("wkdvid user", f"there is no user {email}")
            return 1

        def change(stored: User | None) -> User:
            user = stored or User(email=email)
            if args.act == "add":
                return replace(user, name=args.name or user.name, groups=(*user.groups, *args.group))
            return with_role(user, args.role, args.dataset, held=not args.remove)

        await users.change({email: change}, OPERATOR)
        print(f"{email}: {_roles(await users.find(email) or User(email=email))}")
        return 0

    return with_identities(args, act)


def _roles(user: User) -> str:
    """In one line."""
    of_datasets = [f"{role} of {dataset}" for dataset, roles in user.datasets.items() for role in roles]
    return ", ".join([*user.global_roles, *of_datasets]) or "no roles"
