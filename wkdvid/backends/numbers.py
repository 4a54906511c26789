"""Numbers as metadata documents hold them: Python takes true for 1, and JSON has numbers that no volume has."""

from __future__ import annotations

from typing import TypeGuard

LARGEST = 2**53
"""Up to here a float holds every whole number; TensorStore's coordinates end beyond."""
SMALLEST_SIZE = 1e-12


def is_number(value: object) -> TypeGuard[int | float]:
    """Neither NaN, nor infinite, nor so large that it cannot be meant."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_size(value: object) -> TypeGuard[int | float]:
    """A positive number that one can divide by."""
    return is_number(value) and value >= SMALLEST_SIZE


def is_count(value: object) -> TypeGuard[int]:
    """A positive whole number."""
    return isinstance(value, int) and is_number(value) and value > 0
