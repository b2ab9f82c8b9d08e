from __future__ import annotations

from scripts import state_machines


def test_the_page_of_state_machines_is_what_the_code_obeys() -> None:
    assert state_machines.PAGE.read_text() == state_machines.page(), "run `make docs`"
