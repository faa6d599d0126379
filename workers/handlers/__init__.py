"""One handler per contract in `app/jobs`, in a file of the same name. Listed, not discovered."""

from workers.handlers import (
    clean_up,
    export_table,
    import_apply_all,
    import_chunk,
    import_finished_mail,
    import_plan,
    import_undo_chunk,
    payment_apply_event,
    payment_failed_mail,
    report_daily,
    report_ready_mail,
    trial_ending_mail,
    trial_expired_mail,
    trials_expire,
    webhook_deliver,
    welcome_mail,
)

__all__ = [
    "clean_up",
    "export_table",
    "import_apply_all",
    "import_chunk",
    "import_finished_mail",
    "import_plan",
    "import_undo_chunk",
    "payment_apply_event",
    "payment_failed_mail",
    "report_daily",
    "report_ready_mail",
    "trial_ending_mail",
    "trial_expired_mail",
    "trials_expire",
    "webhook_deliver",
    "welcome_mail",
]
