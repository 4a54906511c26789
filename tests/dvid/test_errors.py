"""Errors in DVID's words, and requests in odd spellings."""

from __future__ import annotations

import re

import pytest
import requests

from tests.dvid.shelf import SEGMENTATIONS, UUID, Shelf

NOT_INDEXED = 'data "labels" is not label indexed (IndexedLabels=false): "{}" endpoint is not supported'


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nope/info", "invalid data instance name"),
        ("ramp_9/info", "invalid data instance name"),
        ("labels_1/info", "invalid data instance name"),
        ("ramp/extents", "extents endpoint only supports POST HTTP verb"),
        ("ramp/raw/0_1_2/4_1_1", '"raw" must be followed by shape/size/offset'),
        ("ramp/raw/0_1_2_3/4_1_1/0_0_0", "Unknown data shape specification (0_1_2_3)"),
        ("ramp/raw/0_1_2/4_1/0_0_0", "Size must be 3 (not 2) dimensions"),
        ("ramp/raw/0_1_2/4_1_1/0_0", "Offset must be 3d coordinate, not 2-d coordinate"),
        ("ramp/raw/0_1_2/4_1_1/0,0,0", "cannot convert '0,0,0' into a Point."),
        ("ramp/raw/0_1_2/4_1_1/0_0_", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("ramp/raw/0_1_2/4_1_1/1_0_0_0", "Offset must be 3d coordinate, not 4-d coordinate"),
        ("ramp/raw/0_1_2/4_1_1/0_0_2147483648", 'strconv.ParseInt: parsing "2147483648": value out of range'),
        ("ramp/raw/0_1_2/4_1_1/0_0_-2147483649", 'strconv.ParseInt: parsing "-2147483649": value out of range'),
        (
            f"ramp/raw/0_1_2/{10**30}_1_1/0_0_0",
            f'strconv.ParseInt: parsing "{10**30}": value out of range',
        ),
        (
            f"ramp/specificblocks?blocks=0,0,{'9' * 5000}",
            f'strconv.Atoi: parsing "{"9" * 80}...": value out of range',
        ),
        ("labels/size/-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        (f"labels/size/{2**64}", f'strconv.ParseUint: parsing "{2**64}": value out of range'),
        ("ramp/raw/0_1_2/4_1_1/0x1_0_0", 'strconv.ParseInt: parsing "0x1": invalid syntax'),
        ("ramp/raw/0_1_2/4_1_1/\uff11_0_0", 'strconv.ParseInt: parsing "\uff11": invalid syntax'),
        ("ramp/raw/0_1_2/-4_1_1/0_0_0", "Illegal geometry requested: 3d volume (-4,1,1) at offset (0,0,0)"),
        ("labels/raw/0_1_2/0_1_1/0_0_0", "illegal geometry requested: 3d volume (0,1,1) at offset (0,0,0)"),
        ("ramp/raw/yz/0_3/0_0_0", "Illegal geometry requested: YZ slice @ offset (0,0,0), size (0, 3)"),
        ("ramp/raw/xy/4_3/0_0_0/gif", "Illegal image format requested: gif"),
        (
            "ramp/raw/0_1_2/5000_5000_5000/0_0_0",
            "Requested payload (125000000000 bytes) exceeds this DVID server's set limit (3221225472)",
        ),
        ("ramp/raw/0_1_2/1000_700_100/0_0_0/jpeg", "jpeg: image is too large to encode"),
        ("ramp/raw/0_1_2/4_1_1/0_0_0?roi=x", 'Can\'t get ROI with name "x": invalid data instance name'),
        ("ramp/specificblocks?blocks=0,0", "block query string should be three coordinates per block"),
        ("ramp/specificblocks?blocks=0,0,x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("ramp/specificblocks?blocks=0,0,1-1", 'strconv.Atoi: parsing "1-1": invalid syntax'),
        ("ramp/specificblocks?blocks=0,0,4294967296", 'strconv.Atoi: parsing "4294967296": value out of range'),
        ("ramp/specificblocks?blocks=0,0,0&compression=lz4", "don't understand 'compression' query string value: lz4"),
        (
            "ramp/subvolblocks/128_128_128/1_0_0",
            "cannot use labels via 'block' endpoint in non-block aligned geometry (1,0,0) -> (128,127,127)",
        ),
        ("ramp/blocks/0_0_0", '"blocks" must be followed by block-coord/span-x'),
        ("ramp/blocks/0_0_0/0", "span-x must be at least 1, got 0"),
        ("labels/raw/0_1_2/8_8_8/0_0_0?compression=blocks", 'unknown compression type "blocks"'),
        (
            "labels/specificblocks?blocks=0,0,0&compression=google",
            'compression must be "lz4" (default), "gzip", "blocks" or "uncompressed"',
        ),
        ("labels/label/1_2_3?scale=x", 'bad scale specified: strconv.Atoi: parsing "x": invalid syntax'),
        ("labels/label/1_2_3?scale=-1", "scale -1 is not there; scales are 0 to 1"),
        ("labels/label", "DVID requires coord to follow 'label' command"),
        ("labels/maxlabel", "No maximum label found for labels version 1\n"),
        ("labels/sparsevol/77", NOT_INDEXED.format("sparsevol")),
        ("labels/sizes", NOT_INDEXED.format("sizes")),
        ("labels/size/0", "Label 0 is protected background value and cannot be queried as body.\n"),
        ("flat/info", "invalid data instance name"),
    ],
)
def test_texts(shelf: Shelf, path: str, text: str) -> None:
    assert shelf.error(path) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "Bad labels request JSON: expected a list"),
        ("[[1,2]]", "Bad labels request JSON: [1, 2] is not a point [x, y, z] of 32-bit numbers"),
        ("[[1,2,3.5]]", "Bad labels request JSON: [1, 2, 3.5] is not a point [x, y, z] of 32-bit numbers"),
        ("[[1,2,true]]", "Bad labels request JSON: [1, 2, True] is not a point [x, y, z] of 32-bit numbers"),
        (
            "[[1,2,4294967296]]",
            "Bad labels request JSON: [1, 2, 4294967296] is not a point [x, y, z] of 32-bit numbers",
        ),
        ("[", "Bad labels request JSON: line 1, column 2: unexpected end of data"),
    ],
)
def test_bodies(shelf: Shelf, body: str, text: str) -> None:
    assert shelf.error("labels/labels", data=body) == text


def test_a_wrong_hash_is_told(shelf: Shelf) -> None:
    assert shelf.error("labels/labels?hash=00", data="[]").startswith("content hash incorrect.  expected 00, got d751")


def test_unknown_endpoints_name_the_help(shelf: Shelf) -> None:
    host = shelf.server.base.removeprefix("http://")
    for name, typename in (("ramp", "uint8blk"), ("labels", "labelmap")):
        text = shelf.get(f"{name}/nope/1/2").text
        path = f"/api/node/{UUID}/{name}/nope/1/2"
        assert text == f'Bad API call ({path}) for data "{name}".  See API help at http://{host}/api/help/{typename}\n'
        assert shelf.server.get(f"/api/help/{typename}").text.count("info | metadata") == 1
        assert f"/{name}/" in shelf.body(f"{name}/help").decode()


def test_a_layer_that_dvid_has_no_type_for_says_so(shelf: Shelf) -> None:
    assert "(color, 1 x int16) has no type in DVID" in shelf.error("signed/info")
    repository = shelf.server.get(f"/api/repo/{UUID}/info").json()
    assert list(repository["Properties"]["NotOffered"]) == ["signed"]
    assert "signed" not in repository["DataInstances"]
    assert {"ramp", "ramp_1", "rgb", "cells"} <= repository["DataInstances"].keys()


def test_neuroglancer_is_offered_what_it_shows(shelf: Shelf) -> None:
    listed = next(dataset for dataset in shelf.server.get("/data/datasets").json() if dataset["uuid"] == UUID)
    names = {address.rpartition("/")[2] for address in listed["addresses"]["neuroglancer"]}
    assert names == {"ramp", "jpeg", "plain", "said_jpeg", "moved", *SEGMENTATIONS}
    page = f"/datasets/{listed['organization']}/{listed['name']}"
    layers = [layer["name"] for layer in listed["layers"]]
    shown = {name: shelf.server.get(page, params={"layer": name}).text for name in layers}
    assert {name for name, text in shown.items() if re.search(rf">dvid://http://[^/]+/{UUID}/{name}<", text)} == names


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("0011", None),
        ("0011:master", None),
        ("0011:", None),
        ("0011%3Amaster~0", None),
        ("ffff", "more than one UUID matches ffff"),
        ("ffff0001", "invalid data instance name"),
        ("abc", "could not find UUID with partial match to abc"),
        (":master", "UUID must be specified if more than one repo exists"),
        ("0011:nope", f'branch "nope" not found in repo "{UUID}"'),
        ("0011:master~3", 'parent 3 is out of range for branch "master"'),
        ("a:b:c", 'bad UUID specification "a:b:c"'),
    ],
)
def test_uuids(shelf: Shelf, spec: str, text: str | None) -> None:
    response = shelf.server.get(f"/api/node/{spec}/ramp/raw/0_1_2/4_1_1/-2_0_0")
    if text is None:
        assert response.content == bytes([0, 0, 0, 1])
    else:
        assert response.status_code == 400
        assert response.text.startswith(f"{text} (/api/node/")


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "ramp/info", "info endpoint only supports GET HTTP verb"),
        ("DELETE", "ramp/info", 'Data "ramp" can only handle GET or POST HTTP verbs'),
        ("PUT", "labels/raw/0_1_2/1_1_1/0_0_0", 'Data "labels" can only handle GET or POST HTTP verbs'),
        ("POST", "ramp/raw/0_1_2/64_64_64/0_0_0", f'Cannot do POST on endpoint "raw" of locked node {UUID}'),
        ("POST", "labels/blocks", f'Cannot do POST on endpoint "blocks" of locked node {UUID}'),
        ("POST", "labels/labels", "Batch labels query must be a GET request"),
        ("POST", "ramp/isotropic/0_1_2/1_1_1/0_0_0", "can only POST 'raw' not 'isotropic' images"),
        ("POST", "note", f"Cannot do post on locked node {UUID}"),
    ],
)
def test_nothing_is_written(shelf: Shelf, method: str, path: str, text: str) -> None:
    url = f"{shelf.server.base}/api/node/{UUID}/{path}"
    response = requests.request(method, url, data=b"{}", timeout=60)
    assert (response.status_code, response.text) == (400, f"{text} (/api/node/{UUID}/{path}).\n")


def test_a_source_that_cannot_be_opened_is_503(shelf: Shelf) -> None:
    response = shelf.server.get("/api/node/dead0001/gone/info")
    assert response.status_code == 503
    assert "lab/gone is unavailable" in response.text
    listed = shelf.server.get("/api/repos/info").json()
    assert listed["dead0001"]["DataInstances"] == {}
    assert "there is no info file" in listed["dead0001"]["Properties"]["Unavailable"]


def test_server_documents(shelf: Shelf) -> None:
    info = shelf.server.get("/api/server/info").json()
    assert all(isinstance(value, str) for value in info.values())
    assert info["DVID Version"] == "v1.0.0"
    assert {"DVID datastore", "Storage driver"} <= info.keys()
    types = shelf.server.get("/api/server/types").json()
    assert {"uint8blk", "labelmap", "grayscale8", "keyvalue"} <= types.keys()
    load = shelf.server.get("/api/load").json()
    assert all(isinstance(value, int) for value in load.values())
    assert shelf.server.get("/interface/version").text == "v1\n"
    assert shelf.server.get("/api/server/token").status_code == 400
    assert shelf.server.get("/api/help/nope").status_code == 400
    assert shelf.server.get("/api/help").headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "/interface", "this API is not described as RAML; see /docs"),
        ("GET", "/api/server/config", "the configuration is not shown: it may hold secrets"),
        ("GET", "/api/server/groupcache", "there is no groupcache"),
        ("GET", "/api/storage", "what is stored where is not shown; see /api/repos/info"),
        ("GET", "/api/user-latencies?u=me", "heartbeats of users are not kept"),
        ("POST", "/api/server/reload-auth", "there is no authorization file to be read again"),
        ("POST", "/api/server/reload-blocklist", "there is no block list to be read again"),
    ],
)
def test_what_dvid_has_and_this_server_does_not(shelf: Shelf, method: str, path: str, text: str) -> None:
    answer = requests.request(method, shelf.server.base + path, timeout=60)
    assert (answer.status_code, answer.text) == (400, f"{text} ({path.partition('?')[0]}).\n")


def test_nobody_has_a_latency(shelf: Shelf) -> None:
    assert shelf.server.get("/api/user-latencies").json() == {}
