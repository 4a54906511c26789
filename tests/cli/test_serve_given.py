"""``wkdvid serve SOURCE...``: what is named is served, without a configuration."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import tifffile

from tests.cli.program import command, environment, wkdvid_here
from tests.volumes import write_precomputed
from wkdvid.cli.given import write_datasets
from wkdvid.core.entries import DatasetKey
from wkdvid.sample import write_sample
from wkdvid.testing.faulty import FileServer

GREY = np.arange(40 * 30 * 20, dtype=np.uint8).reshape(40, 30, 20)


def test_everything_named_is_served_and_nothing_is_left_behind(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", 40)
    before = sorted(tmp_path.rglob("*"))
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho $1 > " + str(tmp_path / "opened"))
    browser.chmod(0o755)
    arguments = ("serve", "sample", "--port", "0", "--workers", "1", "--open")
    env = environment(BROWSER=f"{browser} %s", TMPDIR=str(tmp_path))
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    told: list[str] = []
    while len(pages := re.findall(r"^dataset +(\S+)$", "".join(told), re.MULTILINE)) < 3:
        line = process.stdout.readline()
        assert line, told
        told.append(line)
    base = "{0.scheme}://{0.netloc}".format(urlsplit(pages[0]))
    assert [requests.get(page, timeout=60).status_code for page in pages] == [200] * 3
    assert [page.removeprefix(base) for page in pages] == [
        f"/datasets/local/{n}" for n in ("n5", "precomputed", "zarr")
    ]
    for dataset in requests.get(f"{base}/data/datasets", timeout=60).json():
        categories = {layer["name"]: layer["category"] for layer in dataset["layers"]}
        assert categories.pop("segmentation") == "segmentation"
        assert set(categories.values()) == {"color"}
    while not (tmp_path / "opened").exists():
        time.sleep(0.05)
    assert (tmp_path / "opened").read_text().strip() == pages[0]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    process.stdout.close()
    assert sorted(path for path in tmp_path.rglob("*") if path.name not in ("browser", "opened")) == before


async def test_volumes_of_one_folder_are_layers_if_they_fit(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_precomputed(tmp_path / "fits" / name, [((1, 1, 1), GREY)])
    write_precomputed(tmp_path / "apart" / "fine", [((1, 1, 1), GREY)], voxel_size_nm=(4, 4, 4))
    write_precomputed(tmp_path / "apart" / "odd", [((1, 1, 1), GREY)], voxel_size_nm=(5, 5, 5))
    keys = await write_datasets(
        [str(tmp_path / "fits"), str(tmp_path / "apart"), str(tmp_path / "fits" / "a")], tmp_path
    )
    assert keys == [DatasetKey("local", name) for name in ("fits", "fine", "odd", "a")]


async def test_two_of_one_name_and_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "em.tif", GREY[..., 0], tile=(16, 16))
    keys = await write_datasets([str(tmp_path / folder / "em.tif") for folder in ("one", "two")], tmp_path)
    assert [key.dataset for key in keys] == ["em.tif", "em.tif_2"]


async def test_a_volume_on_the_web_without_leave(tmp_path: Path) -> None:
    write_precomputed(tmp_path / "em", [((1, 1, 1), GREY)])
    with FileServer(tmp_path) as web:
        assert await write_datasets([f"{web.url}em"], tmp_path) == [DatasetKey("local", "em")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: No such file or directory"),
        (["."], "no precomputed, zarr, n5 or wkw volume is there"),
        ([".", "--data-dir", "d"], "leave these options out"),
        ([".", "--datasets", "d.json"], "leave these options out"),
    ],
)
def test_what_is_none_is_said_in_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = wkdvid_here("serve", *arguments, "--port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
