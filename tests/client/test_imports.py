"""What the client needs: no part of the server, and what is optional only when it is used."""

from __future__ import annotations

import subprocess
import sys

SERVER = {"sanic", "tensorstore", "sqlalchemy", "aiohttp", "uvloop", "orjson", "google", "cachebox", "zmesh", "DracoPy"}
LATER = {"dask", "zarr", "tqdm", "PIL", "pandas"}


def test_importing_the_client_imports_no_server() -> None:
    code = "import sys, wkdvid.client, wkdvid.client.pydvid; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "httpx" in imported
    assert not imported & (SERVER | LATER)
    ours = {".".join(name.split(".")[:2]) for name in done.stdout.split() if name.startswith("wkdvid.")}
    assert ours == {"wkdvid.client", "wkdvid.codecs", "wkdvid.core", "wkdvid.errors", "wkdvid.extras"}
    assert {name for name in done.stdout.split() if name.startswith("wkdvid.core.")} == {"wkdvid.core.geometry"}
