"""The table of speed and memory: our server against nginx, TensorStore and what rivals reach, all in one run.

The server has one worker on the first core that may be used, the load is on the last; nginx runs on the server's core.

    python -m benchmarks.run_all [--medulla medulla.npz] [--seconds 3] [--only PATTERN] [--json FILE] [--plot [FILE]]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import (
    annotated,
    backends,
    cases,
    codecs,
    downloads,
    failing,
    kept,
    label_index,
    many_datasets,
    pictures,
    scaled,
    servers,
    signatures,
    table,
    writing,
)
from benchmarks.cases import Case
from benchmarks.load import WrongAnswer
from benchmarks.measure import Bench
from benchmarks.servers import MB, Server
from benchmarks.table import Figure, Problem, Result, Row
from benchmarks.volumes import SIDE, prepare
from wkdvid.core.geometry import Box
from wkdvid.testing.faulty import FileServer

WORK = Path(__file__).parent / ".work"
DOCS = Path(__file__).parents[1] / "docs"
BESIDE_CACHE_MB = 250
"""What a worker may take besides its share of ``cache_bytes``."""
MIB = 2**20
WARM_CACHE, LARGE_SET_CACHE, NO_CACHE = 1024, 32, 1
"""``sources.cache_bytes`` in MiB: room for all that is asked for, for a quarter of it, for no stored chunk."""
LABEL_BLOCK = "one label block from a decoded 64^3, gzipped"
LABEL_BLOCK_ROUNDS = 30
BACKENDS_SIDE = 256


@dataclass(slots=True)
class Run:
    """One run: what its cases share, which are wanted, and what was found."""

    bench: Bench
    only: re.Pattern[str]
    results: list[Result] = field(default_factory=list)

    def wanted(self, found: Sequence[Case]) -> list[Case]:
        """Those that ``--only`` names, but for what the volume is too small for."""
        return [case for case in found if case.asks and self.only.search(case.name)]

    def record(self, result: Result) -> None:
        self.results.append(result)
        print(table.line(result), flush=True)

    @contextlib.contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """What fails is recorded, and does not keep the rest from being measured."""
        try:
            yield
        except (WrongAnswer, RuntimeError) as error:
            self.record(Problem(case=name, text=" ".join(str(error).split())))

    def record_memory(self, server: Server, rows: Sequence[Row], name: str, cache_mib: int) -> None:
        """Since its start, if ``rows`` are what it was loaded with."""
        memory, most = server.memory(), cache_mib * MIB / MB + BESIDE_CACHE_MB
        peak = max([memory.worker_peak, *(row.peak_mb for row in rows)])
        self.record(Figure(case=f"peak memory of the worker, {name}", value=peak, unit="MB", most=most))
        self.record(Figure(case=f"memory of all processes, {name}", value=memory.all_now, unit="MB"))

    @contextlib.contextmanager
    def server(
        self, cache_mib: int, source: Callable[[str], str] | None = None, environ: dict[str, str] | None = None
    ) -> Iterator[Server]:
        """Our server over the files, or over the addresses that ``source`` gives them."""
        folder = self.bench.volume.folder
        datasets = cases.datasets(source or (lambda name: str(folder / name)))
        data_dir, core = self.bench.work / "data", self.bench.server_core
        with servers.wkdvid(
            data_dir, datasets, core=core, file_root=folder, cache_mib=cache_mib, environ=environ
        ) as server:
            yield server


def run_warm(run: Run) -> None:
    _run_local(run, run.wanted(cases.warm_cases(run.bench.volume)), WARM_CACHE)


def run_large_set(run: Run) -> None:
    _run_local(run, run.wanted(cases.large_set_cases(run.bench.volume)), LARGE_SET_CACHE)


def _run_local(run: Run, found: Sequence[Case], cache_mib: int) -> None:
    if not found:
        return
    name = f"cache_bytes {cache_mib} MiB"
    with run.attempt(name), run.server(cache_mib) as server:
        run.record_memory(server, _load_all(run, server, found), name, cache_mib)


def _load_all(run: Run, server: Server, found: Sequence[Case], *, with_tensorstore: bool = True) -> list[Row]:
    rows = []
    for case in found:
        with run.attempt(case.name):
            rows.append(run.bench.load(server, case, with_tensorstore=with_tensorstore))
            run.record(rows[-1])
    return rows


def run_remote(run: Run) -> None:
    """Sources behind http and S3: an nginx on the other core gives the files as either (anonymous, path-style)."""
    bench = run.bench
    with servers.nginx(bench.work / "nginx-source", bench.work, core=bench.load_core) as store:
        bucket = bench.volume.folder.name
        s3 = {"AWS_ENDPOINT_URL": store.base, "AWS_REGION": "us-east-1"}
        http = {"WKDVID_SOURCES__HTTP_HOSTS": store.base.removeprefix("http://")}
        for where, address, environ in (("http", f"{store.base}/{bucket}", http), ("S3", f"s3://{bucket}", s3)):
            with run.attempt(f"sources behind {where}"):
                _run_remote(run, run.wanted(cases.remote_cases(bench.volume, where)), address, environ)


def _run_remote(run: Run, found: Sequence[Case], address: str, environ: dict[str, str]) -> None:
    if found:
        with run.server(NO_CACHE, lambda name: f"{address}/{name}", environ) as server:
            _load_all(run, server, found, with_tensorstore=False)


def run_cold(run: Run) -> None:
    found = run.wanted(cases.cold_cases(run.bench.volume))
    if found:
        print(f"\n{table.COLD_HEADING}")
    for case in found:
        with run.attempt(case.name):
            run.record(run.bench.cold(case, partial(run.server, WARM_CACHE)))


def run_many_datasets(run: Run) -> None:
    for case in run.wanted([many_datasets.warm_case(run.bench.volume)]):
        print(f"\n{table.FIGURE_HEADING}")
        with run.attempt(case.name):
            _run_many_datasets(run, case)


def _run_many_datasets(run: Run, case: Case) -> None:
    bench, volume = run.bench, run.bench.volume
    data_dir, datasets = bench.work / "data", many_datasets.datasets(volume)
    with servers.wkdvid(
        data_dir, datasets, core=bench.server_core, file_root=volume.folder, cache_mib=WARM_CACHE
    ) as server:
        for figure in many_datasets.figures(volume, server):
            run.record(figure)
        print(table.LOAD_HEADING)
        rows = _load_all(run, server, [case])
        run.record_memory(server, rows, f"{many_datasets.COUNT:,} datasets", WARM_CACHE)


def run_backends(run: Run) -> None:
    found = [(format_, side) for format_ in backends.FORMATS for side in backends.BOX_SIDES]
    wanted = [case for case in found if run.only.search(backends.case_name(*case))]
    if not wanted:
        return
    print(f"\n{table.VERSUS_HEADING}")
    side = min(run.bench.volume.side, BACKENDS_SIDE)
    voxels = run.bench.volume.voxels("grey", Box((0, 0, 0), (side, side, side)))
    for format_, box_side in wanted:
        run.record(backends.measure(format_, voxels, box_side))


def run_pictures(run: Run) -> None:
    wanted = [name for name in (pictures.THUMBNAIL, pictures.HISTOGRAM) if run.only.search(name)]
    if not wanted:
        return
    print(f"\n{table.VERSUS_HEADING}")
    side = min(run.bench.volume.side, BACKENDS_SIDE)
    voxels = run.bench.volume.voxels("grey", Box((0, 0, 0), (side, side, side)))
    for name in wanted:
        run.record(pictures.measure(name, voxels))


def run_writing(run: Run) -> None:
    wanted = [case for case in writing.CASES if run.only.search(case.name)]
    if not wanted:
        return
    print(f"\n{table.POSTED_HEADING}")
    with run.attempt("POST raw"), run.server(WARM_CACHE, environ={"WKDVID_ACCESS__MODE": "open"}) as server:
        for case in wanted:
            run.record(writing.measure(run.bench.volume, case, server, run.bench.work / "written"))


def run_downloads(run: Run) -> None:
    wanted = [source for source in downloads.SOURCES if run.only.search(downloads.case_name(source))]
    if wanted:
        print(f"\n{table.VERSUS_HEADING}")
    for source in wanted:
        with run.attempt(downloads.case_name(source)):
            run.record(downloads.measure(run.bench.volume, source, partial(run.server, WARM_CACHE)))


def run_label_index(run: Run) -> None:
    wanted = [name for name in label_index.NAMES if run.only.search(name)]
    if not wanted:
        return
    print(f"\n{table.VERSUS_HEADING}")
    for name in wanted:
        run.record(label_index.measure(name, run.bench.volume, min(run.bench.volume.side, BACKENDS_SIDE)))


def run_annotations(run: Run) -> None:
    if not run.only.search(annotated.NAME):
        return
    print(f"\n{table.FIGURE_HEADING}")
    with run.attempt(annotated.NAME), annotated.databases() as urls:
        for name, url in urls.items():
            for figure in annotated.figures(name, url):
                run.record(figure)


def run_failing(run: Run) -> None:
    """The source is a web server in this process, on the core of the load."""
    if not run.only.search(failing.NAME):
        return
    bench = run.bench
    print(f"\n{table.FIGURE_HEADING}")
    with run.attempt(failing.NAME), FileServer(bench.volume.folder) as far:
        far.fault = failing.fails
        http = {"WKDVID_SOURCES__HTTP_HOSTS": far.host}
        with run.server(LARGE_SET_CACHE, lambda name: far.url + name, http) as server:
            load = failing.measure(bench.volume, server, bench.seconds, bench.load_core, bench.work)
        run.record(Figure(case=failing.NAME, value=load.p99_ms, unit="ms"))


def run_scaled(run: Run) -> None:
    bench = run.bench
    for kind in scaled.KINDS:
        if run.only.search(kind.name):
            print(f"\n{table.FIGURE_HEADING}")
            with run.attempt(kind.name):
                cores = (bench.server_core, bench.load_core)
                for figure in scaled.figures(kind, bench.volume, bench.seconds, cores, bench.work):
                    run.record(figure)


def run_kept(run: Run) -> None:
    if not run.only.search(kept.NAME):
        return
    print(f"\n{table.FIGURE_HEADING}")
    with run.attempt(kept.NAME):
        for figure in kept.figures(run.bench.volume):
            run.record(figure)


def run_label_block(run: Run, medulla: Path | None) -> None:
    if not run.only.search(LABEL_BLOCK):
        return
    print(f"\n{table.FIGURE_HEADING}")
    labels = (codecs.from_medulla(medulla) if medulla else codecs.made_up())["bodies"]
    encoding = next(iter(codecs.label_cases("bodies", labels)))
    ms = codecs.measure(encoding, LABEL_BLOCK_ROUNDS)
    run.record(Figure(case=LABEL_BLOCK, value=ms, unit="ms", most=codecs.TARGET_MS))


def run_signatures(run: Run, count: int) -> None:
    wanted = [kind for kind in signatures.SETS if run.only.search(signatures.case_name(kind, count))]
    if not wanted:
        return
    print(f"\n{table.FIGURE_HEADING}")
    side = min(run.bench.volume.side, BACKENDS_SIDE)
    run.record(signatures.sign_figure(run.bench.volume.voxels("grey", Box((0, 0, 0), (side, side, side)))))
    for kind in wanted:
        for figure in signatures.figures(kind, count, run.bench.work):
            run.record(figure)


def run_all(run: Run, medulla: Path | None, signature_count: int) -> None:
    print(table.LOAD_HEADING)
    run_warm(run)
    run_large_set(run)
    run_remote(run)
    run_cold(run)
    run_many_datasets(run)
    run_label_block(run, medulla)
    run_backends(run)
    run_pictures(run)
    run_writing(run)
    run_downloads(run)
    run_label_index(run)
    run_annotations(run)
    run_failing(run)
    run_scaled(run)
    run_kept(run)
    run_signatures(run, signature_count)
    print(f"\n{table.summary(run.results)}")


def main() -> int:
    options = parse(sys.argv[1:])
    if isinstance(options.plot, Path):
        plotted(options.plot.read_text(), options.plot_folder)
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    cores, busy = sorted(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"load average of the machine before: {busy:.1f}; where it is not near 0, compare processor times only\n")
    volume = prepare(options.work, options.medulla, options.side)
    (options.work / "answers").mkdir(exist_ok=True)
    with servers.nginx(options.work / "nginx", options.work / "answers", core=cores[0]) as nginx:
        os.sched_setaffinity(0, {cores[-1]})  # beside wrk; what is started by taskset has its own
        bench = Bench(volume, options.work, options.seconds, cores[0], cores[-1], nginx)
        run = Run(bench, options.only)
        run_all(run, options.medulla, options.signatures)
    document = table.as_json(run.results, {"seconds": options.seconds, "load_before": busy})
    if options.json is not None:
        options.json.write_text(document)
    if options.plot:
        plotted(document, options.plot_folder)
    return int(any(isinstance(result, Problem) for result in run.results))


def plotted(document: str, folder: Path) -> None:
    """Draw the results of ``table.as_json``."""
    from benchmarks import plot  # noqa: PLC0415 - what it draws with is slow to import

    for path in plot.draw(json.loads(document)["results"], folder):
        print(path)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medulla", type=Path, default=_shared_medulla(), help="the medulla sample, an .npz file")
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each server of each case")
    parser.add_argument("--only", type=_pattern, default=_pattern(""), help="cases whose name has this (a regexp)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results here")
    parser.add_argument(
        "--plot", nargs="?", const=True, type=Path, metavar="FILE", help="draw the results, or what --json wrote before"
    )
    parser.add_argument("--plot-folder", type=Path, metavar="DIR", default=DOCS, help="where the pictures go")
    parser.add_argument("--side", type=int, default=SIDE, help="voxels on each axis of the volume, a multiple of 64")
    parser.add_argument("--signatures", type=int, default=signatures.COUNT, help="how many are searched in")
    parser.add_argument("--work", type=Path, default=WORK, help="folder that keeps the volume between runs")
    return parser.parse_args(arguments)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _shared_medulla() -> Path | None:
    folder = os.environ.get("WKDVID_TEST_DATA")
    path = Path(folder) / "medulla" / "medulla.npz" if folder else None
    return path if path is not None and path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
