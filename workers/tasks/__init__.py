"""Plain Celery tasks of the team's own, without the ledger: docs/plain-celery.md says what they give up.

Listed, not discovered. Each has an explicit name that begins with `tasks.`.
"""

from workers.tasks import probe

__all__ = ["probe"]
