"""The pages as HTML. What a source or a client wrote is escaped; addresses within the server are relative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from wkdvid import __version__
from wkdvid.core.catalog import Dataset, State
from wkdvid.core.layers import Layer
from wkdvid.core.volume import LayerInfo
from wkdvid.frontends.addresses import neuroglancer_address

HEADINGS = ("Dataset", "State", "Layer", "Type", "Size in voxels", "Voxel in nm", "Neuroglancer")
LAYER_COLUMNS = len(HEADINGS) - 2
_DESCRIPTION = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>wkdvid: API</title>
<link rel="stylesheet" href="assets/swagger-ui.css">
<div id="swagger-ui"><noscript>This page needs JavaScript; the description itself is <a href="openapi.json">JSON</a>.\
</noscript></div>
<script src="assets/swagger-ui-bundle.js"></script>
<script src="assets/{script}"></script>
</html>
"""
DOCS = _DESCRIPTION.format(script="docs.js")
REDOC = _DESCRIPTION.format(script="redoc.js")


def home_page(datasets: Sequence[Dataset], base: str) -> str:
    """The list of datasets.

    Args:
        base: Scheme and host that the caller used; goes into addresses that are copied elsewhere.
    """
    base = escape(base)
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>wkdvid: datasets</title>
<link rel="stylesheet" href="assets/home.css">
</head>
<body>
<main>
<h1>wkdvid {__version__}</h1>
<ul>
<li>webKnossos datastore: <code>{base}</code> (<a href="data/health">health</a>)</li>
<li>DVID: <code>{base}/api</code> (<a href="api/repos/info">repositories</a>)</li>
<li>Run-time datasets: <a href="api/config/datasets"><code>{base}/api/config/datasets</code></a></li>
<li><a href="docs">Description of the API</a></li>
</ul>
<table>
<caption>{_count(datasets)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{"".join(_dataset(dataset, base) for dataset in datasets)}</tbody>
</table>
</main>
</body>
</html>
"""


def failure_page(text: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>wkdvid</title>'
        f"<h1>The datasets cannot be listed</h1><p>{escape(text)}</p></html>\n"
    )


def _count(datasets: Sequence[Dataset]) -> str:
    return f"{len(datasets)} dataset{'' if len(datasets) == 1 else 's'}"


def _dataset(dataset: Dataset, base: str) -> str:
    """One row for each layer, the dataset's own cells spanning them."""
    rows = [_layer(dataset, layer, base) for layer in dataset.layers.values()] or [_no_layers(dataset)]
    span = f' rowspan="{len(rows)}"' if len(rows) > 1 else ""
    key = dataset.key
    path = f"{quote(key.organization, safe='')}/{quote(key.dataset, safe='')}"
    state, reason = dataset.status
    links = (
        f'<a href="data/datasets/{escape(path)}">webKnossos JSON</a>, '
        f'<a href="api/repo/{escape(quote(dataset.entry.uuid))}/info">DVID info</a>'
    )
    first = (
        f'<th scope="row"{span}>{escape(str(key))}<br><small>{links}</small></th>'
        f'<td{span} class="{state}" title="{escape(reason)}">{state}</td>'
    )
    return _rows([first + rows[0], *rows[1:]])


def _rows(rows: Iterable[str]) -> str:
    return "".join(f"<tr>{row}</tr>\n" for row in rows)


def _no_layers(dataset: Dataset) -> str:
    reason = dataset.reason or ("is being opened" if dataset.state is State.PENDING else "")
    return f'<td colspan="{LAYER_COLUMNS}">{escape(reason)}</td>'


def _layer(dataset: Dataset, layer: Layer, base: str) -> str:
    info = layer.info
    level = info.levels[0]
    notes = "".join(f"<p>{escape(note)}</p>" for note in info.notes)
    address = neuroglancer_address(dataset, info, base)
    cells = (
        f"{escape(info.name)}{notes}",
        escape(_kind(info)),
        _times(level.extent.scaled_up(level.mag).size),
        _times(f"{nm:g}" for nm in info.voxel_size_nm),
        f"<code>{escape(address)}</code>" if address else "",
    )
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _kind(info: LayerInfo) -> str:
    channels = f"{info.num_channels} x " if info.num_channels > 1 else ""
    return f"{info.category}, {channels}{info.dtype.name}, {info.format}"


def _times(numbers: Iterable[object]) -> str:
    return " x ".join(map(str, numbers))
