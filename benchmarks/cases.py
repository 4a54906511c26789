"""What is measured: requests to one dataset, how their answers are checked, what is aimed at, what others reach.

Targets and rivals are those of the foundation issue; rivals' figures are shares of nginx or requests a second.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import blosc
import numpy as np

from benchmarks.load import Ask
from benchmarks.volumes import CHUNK, ENCODINGS, Volume, Voxels, parts
from wkdvid.codecs import jpeg, label_block, payload, segmentation
from wkdvid.codecs.block_stream import iter_records
from wkdvid.core.geometry import Box, Vec3

Check: TypeAlias = Callable[[Ask, bytes], bool]
"""Whether a body is the right answer."""

KEY = ("bench", "volume")
UUID = "be" * 16
DESCRIPTION = Ask(f"/data/datasets/{KEY[0]}/{KEY[1]}")
BUCKET = 32
BLOCK: Vec3 = (CHUNK, CHUNK, CHUNK)
LABEL_BYTES = 2**40
MEAN_ERROR = 6.0
"""Gray values by which a JPEG may differ in the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    source: str
    asks: Sequence[Ask]
    is_right: Check
    files: int = 1
    """In how many files nginx sends as many bytes as one answer has."""
    target_share: float | None = None
    """Least rate as a share of nginx's."""
    target_rate: float | None = None
    """Least requests a second."""
    rival: str = ""


def datasets(source: Callable[[str], str]) -> dict[str, Any]:
    """A datasets.json with the one dataset; ``source`` gives the address of each source."""
    kinds = {name: "segmentation" if name == "seg" else "image" for name in ENCODINGS}
    layers = {name: {"source": source(name), "type": kind} for name, kind in kinds.items()}
    organization, dataset = KEY
    return {"precomputed": {organization: {dataset: {"uuid": UUID, "layers": layers}}}}


# Requests


def buckets(source: str, boxes: Sequence[Box], key: tuple[str, str] = KEY) -> Ask:
    """A POST of webKnossos for cubes."""
    wanted = [{"position": box.start, "mag": [1, 1, 1], "cubeSize": box.size[0], "fourBit": False} for box in boxes]
    path = f"/data/datasets/{key[0]}/{key[1]}/layers/{source}/data"
    return Ask(path, json.dumps(wanted, separators=(",", ":")), tuple(boxes))


def zarr_chunk(source: str, box: Box) -> Ask:
    index = ".".join(str(n // BUCKET) for n in box.start)
    return Ask(f"/data/zarr/{KEY[0]}/{KEY[1]}/{source}/1/0.{index}", boxes=(box,))


def exported_stored(source: str, box: Box) -> Ask:
    """A chunk of what is exported as precomputed."""
    ranges = "_".join(f"{start}-{stop}" for start, stop in zip(box.start, box.stop, strict=True))
    return Ask(f"/precomputed/{KEY[0]}/{KEY[1]}/{source}/1/{ranges}", boxes=(box,))


def exported_made(source: str, box: Box) -> Ask:
    """A chunk of what is exported as OME-Zarr."""
    index = "/".join(str(n // CHUNK) for n in reversed(box.start))
    return Ask(f"/zarr/{KEY[0]}/{KEY[1]}/{source}/1/c/{index}", boxes=(box,))


def thumbnail(source: str, box: Box) -> Ask:
    x, y, z = box.start
    query = f"x={x}&y={y}&z={z}&width={box.size[0]}&height={box.size[1]}&mag=1"
    return Ask(f"/data/datasets/{KEY[0]}/{KEY[1]}/layers/{source}/thumbnail.jpg?{query}", boxes=(box,))


def specific_blocks(source: str, box: Box, query: str) -> Ask:
    boxes = tuple(parts(box, CHUNK))
    indices = ",".join(str(n // CHUNK) for block in boxes for n in block.start)
    return Ask(_node(source, f"specificblocks?blocks={indices}{query}"), boxes=boxes)


def subvolume_blocks(source: str, box: Box) -> Ask:
    path = f"subvolblocks/{_point(box.size)}/{_point(box.start)}?compression=jpeg"
    return Ask(_node(source, path), boxes=tuple(parts(box, CHUNK)))


def raw(source: str, box: Box, query: str = "") -> Ask:
    return Ask(_node(source, f"raw/0_1_2/{_point(box.size)}/{_point(box.start)}{query}"), boxes=(box,))


def xy_slice(source: str, box: Box) -> Ask:
    size = f"{box.size[0]}_{box.size[1]}"
    return Ask(_node(source, f"raw/0_1/{size}/{_point(box.start)}/jpg"), boxes=(box,))


def _node(source: str, rest: str) -> str:
    return f"/api/node/{UUID}/{source}/{rest}"


def _point(vector: Vec3) -> str:
    return "_".join(map(str, vector))


# Answers


def is_voxels(volume: Volume, source: str) -> Check:
    return lambda ask, body: body == b"".join(volume.voxels(source, box).tobytes("F") for box in ask.boxes)


def is_blosc(volume: Volume, source: str) -> Check:
    return lambda ask, body: blosc.decompress(body) == volume.voxels(source, ask.boxes[0]).tobytes("F")


def is_blocks(same: Callable[[memoryview, Box], bool]) -> Check:
    """Whether a block stream holds every block of the request, in any order, and nothing else."""

    def check(ask: Ask, body: bytes) -> bool:
        records = dict(iter_records(body))
        wanted = {box.scaled_down(BLOCK).start: box for box in ask.boxes}
        return records.keys() == wanted.keys() and all(same(records[index], box) for index, box in wanted.items())

    return check


def is_stored(volume: Volume, source: str) -> Check:
    return is_blocks(lambda data, box: data == volume.stored(source, box))


def is_label_blocks(volume: Volume, source: str) -> Check:
    def same(data: memoryview, box: Box) -> bool:
        labels = label_block.decode(payload.gunzip(data, LABEL_BYTES), box.size)
        return np.array_equal(labels, volume.voxels(source, box))

    return is_blocks(same)


def is_gzipped_segmentation(volume: Volume, source: str) -> Check:
    def check(ask: Ask, body: bytes) -> bool:
        labels = segmentation.decode(payload.gunzip(body, LABEL_BYTES), ask.boxes[0].size)
        return np.array_equal(labels, volume.voxels(source, ask.boxes[0]))

    return check


def is_nearly(volume: Volume, source: str) -> Check:
    """Whether a JPEG of one box shows its voxels."""

    def check(ask: Ask, body: bytes) -> bool:
        wanted: Voxels = volume.voxels(source, ask.boxes[0]).astype(int)
        return float(np.abs(jpeg.decode_block(body, ask.boxes[0].size) - wanted).mean()) < MEAN_ERROR

    return check


def is_histogram(_: Ask, body: bytes) -> bool:
    (found,) = json.loads(body)
    return len(found["elementCounts"]) == 256 and sum(found["elementCounts"]) == found["numberOfElements"] > 0


# Cases


def warm_cases(volume: Volume) -> list[Case]:
    """Their answers fit into the cache, each set for itself."""
    made = (bucket_cases, layer_cases, export_cases, block_cases, raw_cases)
    return [case for make in made for case in make(volume)]


def bucket_cases(volume: Volume) -> list[Case]:
    one = [buckets("grey", [box]) for box in volume.grid((BUCKET, BUCKET, BUCKET))]
    several = [buckets("grey", list(parts(box, BUCKET))) for box in volume.grid((4 * BUCKET, 4 * BUCKET, 2 * BUCKET))]
    same = is_voxels(volume, "grey")
    return [
        Case(
            name="webKnossos 32^3, 1 bucket a POST",
            source="grey",
            asks=one,
            is_right=same,
            target_share=0.30,
            rival="webknossos-connect 6 %",
        ),
        Case(
            name="webKnossos 32^3, 32 buckets a POST",
            source="grey",
            asks=several,
            is_right=same,
            files=32,
            target_share=1.20,
        ),
    ]


def layer_cases(volume: Volume) -> list[Case]:
    """What webKnossos asks of a layer beside buckets."""
    layer = f"/data/datasets/{KEY[0]}/{KEY[1]}/layers/grey"
    slices = volume.grid((CHUNK, CHUNK, 1))[:64]
    return [
        Case(
            name="zarr chunks, 32^3",
            source="grey",
            asks=[zarr_chunk("grey", box) for box in volume.grid((BUCKET, BUCKET, BUCKET))],
            is_right=is_voxels(volume, "grey"),
        ),
        Case(
            name=f"thumbnails, {CHUNK}^2",
            source="grey",
            asks=[thumbnail("grey", box) for box in slices],
            is_right=is_nearly(volume, "grey"),
        ),
        Case(
            name="histogram",
            source="grey",
            asks=[Ask(f"{layer}/histogram?ignored={i}") for i in range(8)],
            is_right=is_histogram,
        ),
    ]


def export_cases(volume: Volume) -> list[Case]:
    """Chunks as files of other formats: such as are handed on, and such as are made."""
    chunks = volume.grid(BLOCK)
    return [
        Case(
            name="precomputed chunks as stored (jpeg), 64^3",
            source="greyjpeg",
            asks=[exported_stored("greyjpeg", box) for box in chunks],
            is_right=lambda ask, body: body == volume.stored("greyjpeg", ask.boxes[0]),
        ),
        Case(
            name="zarr chunks as made (blosc), 64^3",
            source="grey",
            asks=[exported_made("grey", box) for box in chunks],
            is_right=is_blosc(volume, "grey"),
        ),
    ]


def block_cases(volume: Volume) -> list[Case]:
    one, cubes = volume.grid(BLOCK), _cubes_of_64(volume)
    as_stored = is_stored(volume, "greyjpeg")
    as_labels = is_label_blocks(volume, "seg")
    as_voxels = is_blocks(lambda data, box: bytes(data) == volume.voxels("grey", box).tobytes("F"))

    def case(kind: str, box: list[Box], query: str, is_right: Check, share: float, rival: str) -> Case:
        source = {"jpeg": "greyjpeg", "uncompressed": "grey", "labels": "seg"}[kind]
        count = "1 block" if box is one else "64 blocks"
        return Case(
            name=f"specificblocks {kind}, {count}",
            source=source,
            asks=[specific_blocks(source, b, query) for b in box],
            is_right=is_right,
            target_share=share,
            rival=f"DVID {rival}",
        )

    whole = volume.grid((4 * CHUNK,) * 3)
    subvolumes = {"64^3": (one, "DVID 6,030/s"), "256^3": (whole, "DVID 339/s")}
    return [
        case("jpeg", one, "&compression=jpeg", as_stored, 0.30, "28 %"),
        case("jpeg", cubes, "&compression=jpeg", as_stored, 0.60, "39 %"),
        case("uncompressed", one, "&compression=uncompressed", as_voxels, 0.55, "49 %"),
        case("uncompressed", cubes, "&compression=uncompressed", as_voxels, 0.85, "69 %"),
        case("labels", one, "", as_labels, 0.25, "22 %"),
        case("labels", cubes, "", as_labels, 0.30, "10 %"),
        *(
            Case(
                name=f"subvolblocks jpeg, {size}",
                source="greyjpeg",
                asks=[subvolume_blocks("greyjpeg", box) for box in boxes],
                is_right=as_stored,
                rival=rival,
            )
            for size, (boxes, rival) in subvolumes.items()
        ),
    ]


def raw_cases(volume: Volume) -> list[Case]:
    sides = {32: (0.25, "DVID 11 %"), 64: (0.50, "DVID 26 %"), 256: (0.80, "DVID 29 %")}
    blocks = volume.grid(BLOCK)[:64]
    return [
        *(
            Case(
                name=f"raw uint8, {side}^3",
                source="grey",
                asks=[raw("grey", box) for box in volume.grid((side, side, side))],
                is_right=is_voxels(volume, "grey"),
                target_share=share,
                rival=rival,
            )
            for side, (share, rival) in sides.items()
        ),
        Case(
            name="raw uint64 labels, 64^3",
            source="seg",
            asks=[raw("seg", box) for box in blocks],
            is_right=is_voxels(volume, "seg"),
            target_rate=600,
            rival="DVID 60/s",
        ),
        Case(
            name="raw uint64 labels, 64^3, googlegzip",
            source="seg",
            asks=[raw("seg", box, "?compression=googlegzip") for box in blocks],
            is_right=is_gzipped_segmentation(volume, "seg"),
        ),
        Case(
            name=f"xy slice as jpeg, {volume.side}^2",
            source="grey",
            asks=[xy_slice("grey", box) for box in volume.grid((volume.side, volume.side, 1))],
            is_right=is_nearly(volume, "grey"),
            target_rate=870,
            rival="DVID 87/s",
        ),
    ]


def remote_cases(volume: Volume, where: str) -> list[Case]:
    """Stored JPEG chunks of a source behind a network, none of them kept."""
    return [
        Case(
            name=f"specificblocks jpeg from {where}, {count}",
            source="greyjpeg",
            asks=[specific_blocks("greyjpeg", box, "&compression=jpeg") for box in boxes],
            is_right=is_stored(volume, "greyjpeg"),
            target_share=share,
            rival=f"DVID ngprecomputed {rival}",
        )
        for count, boxes, share, rival in (
            ("1 block", volume.grid(BLOCK), 0.12, "7.5 %"),
            ("64 blocks", _cubes_of_64(volume), 0.18, "12 %"),
        )
    ]


def large_set_cases(volume: Volume) -> list[Case]:
    """Requests at random places of a source that is larger than the cache."""
    chosen = [*bucket_cases(volume), *(case for case in raw_cases(volume) if case.name == "raw uint8, 64^3")]
    return [
        replace(
            case,
            name=f"{case.name}, set 4 x cache_bytes",
            asks=random.Random(0).choices(case.asks, k=4 * len(case.asks)) if case.asks else (),
            target_share=None,
            rival="",
        )
        for case in chosen
    ]


def cold_cases(volume: Volume) -> list[Case]:
    """Each request is sent once to a new server; no two boxes of a case overlap."""
    several, same = bucket_cases(volume)[1], is_voxels(volume, "grey")
    cubes = {"grey": (32, 64, 256), "seg": (64,)}
    jpegs = volume.grid(BLOCK)
    return [
        replace(several, name="cold webKnossos 32^3 of grey, 32 buckets a POST"),
        *(
            Case(
                name=f"cold webKnossos {side}^3 of {source}, 1 bucket a POST",
                source=source,
                asks=[buckets(source, [box]) for box in volume.grid((side, side, side))],
                is_right=is_voxels(volume, source),
            )
            for source, sides in cubes.items()
            for side in sides
        ),
        replace(export_cases(volume)[0], name="cold precomputed chunks as stored (jpeg), 64^3"),
        Case(name="cold raw uint8, 64^3", source="grey", asks=[raw("grey", box) for box in jpegs], is_right=same),
        Case(
            name="cold raw uint8 stored as jpeg, 64^3",
            source="greyjpeg",
            asks=[raw("greyjpeg", box) for box in jpegs],
            is_right=is_decoded(volume),
        ),
    ]


def is_decoded(volume: Volume) -> Check:
    """Whether voxels of one block are those of its stored JPEG."""

    def check(ask: Ask, body: bytes) -> bool:
        stored = volume.stored("greyjpeg", ask.boxes[0])
        return body == jpeg.decode_block(stored, ask.boxes[0].size).tobytes("F")

    return check


def _cubes_of_64(volume: Volume) -> list[Box]:
    return volume.blocks(4)[:32]
