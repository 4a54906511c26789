"""The default signer: alike patches get near signatures, and every machine gives the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from tests.volumes import Voxels
from wkdvid.signatures.signer import PATCH, Signer, describe

STRIDE = 16
ROOT = Path(__file__).parents[2]
Signatures = npt.NDArray[np.uint64]


def signed(signer: Signer, voxels: Voxels) -> Signatures:
    """Of an (x, y, z) array."""
    return signer.sign(describe(voxels[None], STRIDE)[0])


def moved(voxels: Voxels, by: tuple[int, int, int]) -> Voxels:
    return voxels[tuple(slice(4 + n, 164 + n) for n in by)]


def brighter(voxels: Voxels) -> Voxels:
    return np.clip(np.rint(moved(voxels, (0, 0, 0)) * 1.3 + 15), 0, 255).astype(np.uint8)


def noisy(voxels: Voxels) -> Voxels:
    noise = np.random.default_rng(0).normal(0, 10, (160, 160, 160))
    return np.clip(np.rint(moved(voxels, (0, 0, 0)) + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def grey(medulla: Mapping[str, Voxels]) -> Voxels:
    return medulla["grayscale"][:168, :168, :168]


@pytest.fixture(scope="module")
def signer(grey: Voxels) -> Signer:
    return Signer.of(describe(grey[None], STRIDE)[0])


def test_bits_divide_the_patches_and_unlike_ones_differ_in_half_of_them(signer: Signer, grey: Voxels) -> None:
    found = signed(signer, grey)
    assert len(found) == 8**3
    bits = found[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    assert (abs(bits.mean(axis=0) - 0.5) < 0.01).all()
    others = np.random.default_rng(1).permutation(found)
    assert 28 < np.median(np.bitwise_count(found ^ others)) < 36


@pytest.mark.parametrize(
    ("change", "median", "most"),
    [
        (partial(moved, by=(1, 1, 1)), 6, 10),
        (partial(moved, by=(2, -2, 2)), 8, 14),
        (brighter, 2, 5),
        (noisy, 2, 5),
    ],
    ids=["moved by 1", "moved by 2", "brighter", "noisy"],
)
def test_alike_patches_have_near_signatures(
    signer: Signer, grey: Voxels, change: partial[Voxels], median: int, most: int
) -> None:
    """Half of them differ in fewer bits than likenesses may (8), where unlike ones differ in 33."""
    one, other = signed(signer, moved(grey, (0, 0, 0))), signed(signer, change(grey))
    differ = np.bitwise_count(one ^ other)
    assert np.median(differ) <= median
    assert np.percentile(differ, 90) <= most


def test_a_patch_has_one_signature_wherever_its_box_ends(signer: Signer, grey: Voxels) -> None:
    whole, starts = describe(grey[None], STRIDE)
    alone, at = describe(grey[None, 32:80, 64:112, 96:144], STRIDE)
    assert at.tolist() == [[0, 0, 0]]
    (same,) = whole[(starts == (32, 64, 96)).all(axis=1)]
    assert np.array_equal(alone[0], same)


PINNED = "54a2d22da3183e5d f191f6442a34a01e"
DIGESTS = """
import hashlib
import numpy as np
from wkdvid.signatures.signer import Signer, describe

x, y, z = np.indices((96, 80, 64)).astype(np.int64)
voxels = ((x * x + 3 * y * z + 7 * x * z) // 11 % 251).astype(np.uint8)
features, _ = describe(voxels[None], 16)
for array in (features.astype(np.int8), Signer.of(features).sign(features)):
    print(hashlib.sha256(array.tobytes()).hexdigest()[:16], end=" ")
"""
SIMPLER = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(_multiarray_umath.__cpu_dispatch__),
    "OPENBLAS_CORETYPE": "Nehalem",
}
"""numpy without what it finds beyond its baseline, OpenBLAS as if the processor were an old one."""


@pytest.mark.parametrize("environ", [{}, SIMPLER], ids=["this processor", "a simpler one"])
def test_signatures_are_the_same_on_every_machine(environ: dict[str, str]) -> None:
    """Whatever changes them has to change the signer's name, too: indexes of both could not be compared."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGESTS],
        env={**os.environ, **environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (PINNED, "")


def test_sums_are_whole_numbers_that_float32_holds(signer: Signer, grey: Voxels) -> None:
    """So their order, which libraries for linear algebra choose, does not matter."""
    features, _ = describe(grey[None], STRIDE)
    assert (features == np.rint(features)).all()
    assert abs(features).max() * features.shape[1] < 2**24
    exact = features.astype(np.int64) @ signer.projection.astype(np.int64)
    assert np.array_equal(features @ signer.projection, exact)
    assert set(np.unique(signer.projection).tolist()) == {-1, 1}


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint64", "float32"])
def test_types_and_scales_make_no_difference(signer: Signer, grey: Voxels, dtype: str) -> None:
    part = grey[:96, :96, :96]
    wider = (part.astype(np.float64) * 4).astype(dtype)
    assert np.bitwise_count(signed(signer, part) ^ signed(signer, wider)).max() <= 1


def test_channels_are_added_up(grey: Voxels) -> None:
    part = grey[:64, :64, :64]
    features, _ = describe(np.stack([part, np.zeros_like(part), part]), STRIDE)
    assert np.array_equal(features, describe(part.astype(np.uint16)[None] * 2, STRIDE)[0])


def test_what_has_no_contrast_has_no_signature(grey: Voxels) -> None:
    voxels = grey[:96, :96, :96].copy()
    voxels[:, :, :64] = 128
    _, starts = describe(voxels[None], STRIDE)
    assert set(starts[:, 2].tolist()) == {32, 48}
    assert len(describe(np.full((1, 47, 60, 60), 1, np.uint8), STRIDE)[0]) == 0
    odd = voxels.astype(np.float32)
    odd[90, 90, 90] = np.nan
    kept = describe(odd[None], STRIDE)[1]
    assert (48, 48, 48) not in {tuple(start) for start in kept.tolist()}
    assert len(kept) == len(starts) - 1


def test_a_sample_of_nothing_does(grey: Voxels) -> None:
    features, _ = describe(grey[None, :96, :96, :96], STRIDE)
    signatures = Signer.of(features[:0]).sign(features)
    assert len(np.unique(signatures)) > len(signatures) // 2


def test_the_document_is_all_that_another_program_needs(signer: Signer, grey: Voxels) -> None:
    document = signer.document()
    assert document["patch"] == [PATCH] * 3
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(document["projection"]), np.uint8))
    projection = bits.reshape(document["features"], 64).astype(np.int64) * 2 - 1
    features, _ = describe(grey[None, :96, :96, :96], STRIDE)
    signs = features.astype(np.int64) @ projection > np.array(document["thresholds"])
    expected = [sum(1 << bit for bit in np.flatnonzero(row).tolist()) for row in signs]
    assert signer.sign(features).tolist() == expected
