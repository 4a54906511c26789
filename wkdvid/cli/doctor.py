"""``wkdvid doctor``: whether a server would start here, and what to do where something is not well."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wkdvid.cli.text import printable
from wkdvid.errors import ConfigError

if TYPE_CHECKING:
    from wkdvid.doctor import Finding

NAME = "doctor"
HELP = "say whether a server would start here, and what to do where something is not well"
EXAMPLES = """\
Run it as the user, and with the environment, of the server. Nothing is changed. The exit status is 1 where something is
not well.

examples:
  wkdvid doctor
  wkdvid doctor --config /etc/wkdvid.toml --json
  docker-compose run --rm wkdvid doctor
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file (default: config.toml in the data directory)"
    )
    parser.add_argument("--data-dir", metavar="DIR", help="where state lives (default: data)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    import asyncio

    findings = asyncio.run(_findings(args))
    is_well = all(one.is_well for one in findings)
    if args.json:
        rows = [{"subject": o.subject, "ok": o.is_well, "text": o.text, "advice": o.advice} for o in findings]
        print(json.dumps({"ok": is_well, "findings": rows}, indent=2))
    else:
        for finding in findings:
            print(_line(finding))
    return 0 if is_well else 1


async def _findings(args: argparse.Namespace) -> list[Finding]:
    from wkdvid.config import load_config
    from wkdvid.doctor import Finding, examine

    try:
        config = load_config(args.config, os.environ, {"data_dir": args.data_dir})
    except ConfigError as error:
        return [Finding("configuration", is_well=False, text=str(error), advice="see docs/configuration.md")]
    return [finding async for finding in examine(config)]


def _line(finding: Finding) -> str:
    advice = f"\n         {finding.advice}" if finding.advice else ""
    return f"{'ok      ' if finding.is_well else 'PROBLEM '} {printable(f'{finding.subject}: {finding.text}')}{advice}"
