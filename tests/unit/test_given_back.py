"""When a worker looks after the jobs whose message went back."""

import time
from uuid import uuid4

from workers.runtime.given_back import Expected

LATER_SECONDS = 0.2


def test_jobs_are_due_in_the_order_of_their_times() -> None:
    expected = Expected()
    late, early = uuid4(), uuid4()
    begun = time.monotonic()
    expected.add([late], LATER_SECONDS)
    expected.add([early], 0.0)
    assert expected.take() == {early}
    assert expected.take() == {late}
    assert time.monotonic() - begun >= LATER_SECONDS


def test_a_job_whose_message_has_come_and_gone_again_is_due_by_the_last_word_alone() -> None:
    """It may be between two deliveries at the first moment, though the broker counts on."""
    expected = Expected()
    job, other = uuid4(), uuid4()
    begun = time.monotonic()
    expected.add([job, other], 0.0)
    expected.add([job], LATER_SECONDS)
    assert expected.take() == {other}
    assert expected.take() == {job}
    assert time.monotonic() - begun >= LATER_SECONDS
