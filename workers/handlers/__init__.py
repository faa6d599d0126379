"""One handler per contract in `app/jobs`, in a file of the same name. Listed, not discovered."""

from workers.handlers import import_chunk, import_finished_mail, import_plan

__all__ = ["import_chunk", "import_finished_mail", "import_plan"]
