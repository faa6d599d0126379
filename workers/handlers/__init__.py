"""One handler per contract in `app/jobs`, in a file of the same name. Listed, not discovered."""

from workers.handlers import (
    clean_up,
    import_apply_all,
    import_chunk,
    import_finished_mail,
    import_plan,
    import_undo_chunk,
    report_daily,
    trial_expired_mail,
    trials_expire,
)

__all__ = [
    "clean_up",
    "import_apply_all",
    "import_chunk",
    "import_finished_mail",
    "import_plan",
    "import_undo_chunk",
    "report_daily",
    "trial_expired_mail",
    "trials_expire",
]
