from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from timeline import sessions
from timeline.sessions import Said

NOW = datetime(2026, 11, 20, 14, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_a_batch_sent_twice_is_recorded_once_and_in_order() -> None:
    session = sessions.begin(project_id=uuid4(), client_id="run-1", started_at=NOW)
    batch = [Said(f"m{number}", "user", f"message {number}", NOW + timedelta(seconds=number)) for number in range(3)]
    assert sessions.say(session=session, messages=batch) == 3
    assert sessions.say(session=session, messages=[*batch, Said("m3", "agent", "done", NOW)]) == 1
    assert list(session.messages.order_by("id").values_list("client_id", flat=True)) == ["m0", "m1", "m2", "m3"]


@pytest.mark.django_db
def test_beginning_and_ending_twice_changes_nothing() -> None:
    project = uuid4()
    first = sessions.begin(project_id=project, client_id="run-1", started_at=NOW, title="checkout")
    again = sessions.begin(project_id=project, client_id="run-1", started_at=NOW + timedelta(hours=1), title="other")
    assert again.pk == first.pk and again.title == "checkout"
    assert sessions.end(session=first, ended_at=NOW) and not sessions.end(session=first, ended_at=NOW)
