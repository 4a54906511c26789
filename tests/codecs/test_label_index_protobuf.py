"""LabelIndex messages, read by protobuf itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from wkdvid.codecs.label_index_protobuf import block_keys, indices_member, label_index

Field = descriptor_pb2.FieldDescriptorProto


def _map(message: Any, name: str, value: Any, of: str = "") -> None:
    """A field 1 that is a map from uint64."""
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_UINT64, label=Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=value, label=Field.LABEL_OPTIONAL, type_name=of or None)
    whole = f".{message.name}.{entry.name}"
    message.field.add(name=name, number=1, type=Field.TYPE_MESSAGE, label=Field.LABEL_REPEATED, type_name=whole)


@pytest.fixture(scope="module")
def messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="labels.proto", syntax="proto3")
    counts = file.message_type.add(name="SVCount")
    _map(counts, "counts", Field.TYPE_UINT32)
    index = file.message_type.add(name="LabelIndex")
    _map(index, "blocks", Field.TYPE_MESSAGE, ".SVCount")
    index.field.add(name="label", number=2, type=Field.TYPE_UINT64, label=Field.LABEL_OPTIONAL)
    indices = file.message_type.add(name="LabelIndices")
    indices.field.add(
        name="indices", number=1, type=Field.TYPE_MESSAGE, label=Field.LABEL_REPEATED, type_name=".LabelIndex"
    )
    return dict(message_factory.GetMessages([file], pool=descriptor_pool.DescriptorPool()))


ENTRIES = st.dictionaries(st.tuples(*[st.integers(1 - 2**20, 2**20 - 1)] * 3), st.integers(1, 2**32 - 1), max_size=40)


def parts(entries: dict[tuple[int, int, int], int]) -> tuple[Any, Any]:
    blocks = np.array(list(entries), np.int64).reshape(-1, 3)
    return blocks, np.array(list(entries.values()), np.uint32)


@given(label=st.integers(1, 2**64 - 1), entries=ENTRIES)
def test_protobuf_reads_it(messages: dict[str, Any], label: int, entries: dict[tuple[int, int, int], int]) -> None:
    blocks, counts = parts(entries)
    found = messages["LabelIndex"].FromString(label_index(label, blocks, counts))
    assert found.label == label
    told = {key: dict(count.counts) for key, count in found.blocks.items()}
    keys = block_keys(blocks).tolist()
    assert told == {key: {label: count} for key, count in zip(keys, counts.tolist(), strict=True)}
    assert len(told) == len(entries)


def test_members_follow_each_other(messages: dict[str, Any]) -> None:
    blocks, counts = parts({(x, -x, 3): x + 1 for x in range(20_000)})
    sent = [label_index(7, blocks, counts), label_index(9, blocks[:0], counts[:0])]
    found = messages["LabelIndices"].FromString(b"".join(map(indices_member, sent)))
    assert [(one.label, len(one.blocks)) for one in found.indices] == [(7, 20_000), (9, 0)]


def test_keys_are_sign_and_magnitude() -> None:
    """dvid.md H6."""
    assert block_keys(np.array([[3, 2, 1], [5, 0, -1]])).tolist() == [4398050705411, 4611690416473899013]
