"""Words of a node, as they can be stored."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from deployments.services import storable
from nodeagent.wire.heartbeat import Dimension

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_values)
def test_what_is_stored_has_no_nul_and_is_json(value: object) -> None:
    assert "\\u0000" not in json.dumps(storable.plain(value)).replace("\\\\", "")


def test_a_message_becomes_its_members() -> None:
    assert storable.plain((Dimension("ok", "", "a\0b"),)) == [
        {"state": "ok", "code": "", "summary": "a\N{REPLACEMENT CHARACTER}b"}
    ]
