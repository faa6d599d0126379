"""Read by Python before anything else, in processes whose clock can be put off.

libfaketime 0.9.10 refuses the call under `time.sleep` while the monotonic clock is left alone, which it
must be: a clock that NTP steps doesn't change how long a second is.
"""

import select
import time
from typing import SupportsIndex


def sleep(seconds: float | SupportsIndex) -> None:
    """As `time.sleep`, by another system call."""
    left = float(seconds)
    deadline = time.monotonic() + left
    while True:
        select.select((), (), (), left)
        left = deadline - time.monotonic()
        if left <= 0:
            return


time.sleep = sleep
