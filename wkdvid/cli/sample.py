"""``wkdvid sample``: write the sample dataset."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wkdvid.errors import WkdvidError

NAME = "sample"
HELP = "write a synthetic EM-like volume to try the server with"
DEFAULT_SIZE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, metavar="N", help=f"voxels along x (default: {DEFAULT_SIZE})")
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data"), metavar="DIR", help="where 'sample' is made (default: data)"
    )
    parser.add_argument("--force", action="store_true", help="write it anew, whatever is there")


def run(args: argparse.Namespace) -> int:
    folder: Path = args.data_dir / "sample"
    try:
        if not args.force and _is_occupied(folder):
            return _keep(folder, args.size)
        _write(folder, DEFAULT_SIZE if args.size is None else args.size)
    except ValueError as error:  # so TensorStore reports a full disk or a missing permission
        raise WkdvidError(str(error)) from error
    return 0


def _is_occupied(folder: Path) -> bool:
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def _keep(folder: Path, size: int | None) -> int:
    """Leave alone what is there; an error if it is not what was asked for."""
    from wkdvid.sample import existing_size

    found = existing_size(folder)
    if found is None:
        print(f"wkdvid sample: {folder} holds something else; --force replaces it", file=sys.stderr)
        return 1
    if size not in (None, found):
        print(f"wkdvid sample: {folder} holds a sample of size {found}; --force replaces it", file=sys.stderr)
        return 1
    print(f"{folder}: there already, size {found}")
    return 0


def _write(folder: Path, size: int) -> None:
    from tqdm import tqdm

    from wkdvid.sample import write_sample

    # disable=None: no bar where standard error is not a terminal.
    with tqdm(desc="sample", unit="box", file=sys.stderr, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        write_sample(folder, size, show)
    print(f"{folder}: written, size {size}")
