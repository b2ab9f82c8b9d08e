"""Keys, names and labels: equal for equal keys, valid everywhere, never cut."""

from __future__ import annotations

import re

from hcloud.helpers.labels import LabelValidator
from hypothesis import given
from hypothesis import strategies as st

from providers.ports import ResourceKey

keys = st.builds(ResourceKey, st.text(max_size=100), st.text(max_size=100), st.text(max_size=100))


@given(keys)
def test_a_cloud_name_is_a_host_name_and_labels_are_valid_labels(key: ResourceKey) -> None:
    assert re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])", key.cloud_name())
    assert LabelValidator.validate_verbose(key.labels()) == (True, "")


@given(keys)
def test_a_key_read_back_from_its_labels_is_the_same_resource(key: ResourceKey) -> None:
    read_back = ResourceKey.from_labels({**key.labels(), "more": "of it"})

    assert read_back is not None
    assert key.is_on(read_back.labels())
    assert read_back.labels() == key.labels()


@given(keys, keys)
def test_two_keys_share_neither_name_nor_labels(one: ResourceKey, other: ResourceKey) -> None:
    if one != other:
        assert one.cloud_name() != other.cloud_name()
        assert one.labels() != other.labels()


def test_a_label_that_is_too_long_is_hashed_and_not_cut() -> None:
    """A cut could end in "-", which no label may (csi-driver 2.20.2 had that fault)."""
    long = "a" * 62 + "-b"

    value = ResourceKey("i", "e", long).labels()["resource"]

    assert value != long[:63]
    assert value != ResourceKey("i", "e", long + "c").labels()["resource"]


def test_names_stay_as_they_are_for_ever() -> None:
    """Golden: a change here would orphan every server that exists."""
    key = ResourceKey("1f0e8a52-5f4e-4d0e-9d54-1a2b3c4d5e6f", "9a1d4c1e-7b7f-4a39-8f57-2f1b0e6d7c8b", "data")

    assert key.cloud_name() == "sw-lfy7s2kp6gv5o4yxlwby"
    assert key.labels() == {
        "managed-by": "sam",
        "installation": "1f0e8a52-5f4e-4d0e-9d54-1a2b3c4d5e6f",
        "environment": "9a1d4c1e-7b7f-4a39-8f57-2f1b0e6d7c8b",
        "resource": "data",
    }


def test_labels_of_others_are_nobodys_key() -> None:
    for labels in ({}, {"managed-by": "terraform"}, {"managed-by": "sam"}, {"managed-by": "sam", "installation": "x"}):
        assert ResourceKey.from_labels(labels) is None
