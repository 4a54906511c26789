"""Finding signatures near another one by Hamming distance: four tables, each by 16 of the 64 bits.

Signatures that differ in up to 7 bits differ in at most one bit of at least one band (7 // 4 = 1): those with the same
16 bits there, or one of them turned, are all that can be near. The search is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BANDS = 4
BAND_BITS = 16
KEYS = 2**BAND_BITS
NEAR = 2 * BANDS - 1
"""Bits up to which the tables tell all that there are."""
STEP = 2**22
"""Signatures that are looked at at a time."""

Signatures = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.integer]
"""Of signatures, as they stand in the index."""

READING_ALONG = 64
"""Where the tables tell of more than this part of all, comparing them all is quicker than looking them up."""
_TURNED = np.array([0, *(1 << bit for bit in range(BAND_BITS))])
"""What turns no bit of a key, or one."""


@dataclass(frozen=True, slots=True)
class Band:
    """The numbers of signatures, by their bits in one band."""

    order: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]
    """(65537,): those with key k stand in ``order[starts[k]:starts[k + 1]]``."""


def keys(signatures: Signatures, band: int) -> npt.NDArray[np.uint16]:
    """Bits of a band, the lowest first."""
    return (signatures >> np.uint64(BAND_BITS * band)).astype(np.uint16)


def fill(order: npt.NDArray[np.uint32], signatures: Signatures, band: int, kept: npt.NDArray[np.bool_]) -> Band:
    """Sort by counting, within the memory of ``STEP`` signatures.

    Args:
        order: To be filled, perhaps on disk: as long as there are signatures that are ``kept``.
    """
    starts = np.zeros(KEYS + 1, np.int64)
    for _, found in _steps(signatures, band, kept):
        starts[1:] += np.bincount(found, minlength=KEYS)
    starts = np.cumsum(starts)
    following = starts[:-1].copy()
    for numbers, found in _steps(signatures, band, kept):
        counts = np.bincount(found, minlength=KEYS)
        by_key = np.argsort(found, kind="stable")
        ordered = found[by_key]
        in_step = np.arange(len(ordered)) - (np.cumsum(counts) - counts)[ordered]
        order[following[ordered] + in_step] = numbers[by_key]
        following += counts
    return Band(order, starts)


def _steps(
    signatures: Signatures, band: int, kept: npt.NDArray[np.bool_]
) -> Iterator[tuple[Numbers, npt.NDArray[np.uint16]]]:
    for start in range(0, len(signatures), STEP):
        numbers = start + np.flatnonzero(kept[start : start + STEP])
        yield numbers, keys(signatures[start : start + STEP][kept[start : start + STEP]], band)


@dataclass(frozen=True, slots=True)
class Bands:
    """Signatures with their tables."""

    signatures: Signatures
    kept: npt.NDArray[np.bool_]
    """Those that are in the tables."""
    tables: tuple[Band, ...]

    def near(self, signature: int, most: int) -> tuple[Numbers, Numbers]:
        """Those that differ in up to ``most`` bits.

        Returns:
            Their numbers, ascending, and in how many bits each differs.
        """
        wanted = np.uint64(signature)
        parts = self._parts(signature)
        told = sum(stop - start for _, start, stop in parts)
        if most > NEAR or told > len(self.signatures) // READING_ALONG:
            return self._compare_all(wanted, most)
        numbers = np.unique(np.concatenate([order[start:stop] for order, start, stop in parts]))
        bits = np.bitwise_count(self.signatures[numbers] ^ wanted)
        return numbers[bits <= most], bits[bits <= most]

    def _parts(self, signature: int) -> list[tuple[npt.NDArray[np.uint32], int, int]]:
        """Of which table from where to where."""
        return [
            (table.order, int(table.starts[key]), int(table.starts[key + 1]))
            for number, table in enumerate(self.tables)
            for key in (signature >> BAND_BITS * number & KEYS - 1) ^ _TURNED
        ]

    def _compare_all(self, wanted: np.uint64, most: int) -> tuple[Numbers, Numbers]:
        found: list[tuple[Numbers, Numbers]] = []
        for start in range(0, len(self.signatures), STEP):
            bits = np.bitwise_count(self.signatures[start : start + STEP] ^ wanted)
            numbers = np.flatnonzero((bits <= most) & self.kept[start : start + STEP])
            found.append((start + numbers, bits[numbers]))
        numbers, bits = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return numbers, bits
