"""`millrace tasks`: plain Celery tasks, by name."""

import json
from typing import Annotated

import typer

from app.broker.topology import Queue
from app.terminal import AsJson, answer

app = typer.Typer(no_args_is_help=True, help="Plain Celery tasks, which have no ledger.")


@app.callback()
def group() -> None:
    """Keeps `send` a command of its own, though it is the only one."""


@app.command()
def send(
    name: Annotated[str, typer.Argument(help="Such as tasks.probe.")],
    queue: Annotated[Queue, typer.Option(help="Whose workers run it.")] = Queue.DEFAULT,
    kwargs: Annotated[str, typer.Option(help="Its arguments, a JSON object.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Send a plain task, and say its id once the broker has it. `tasks.probe` shows in a worker's log."""
    from app.broker.tasks import TaskSender
    from app.errors import Unprocessable
    from app.settings import get_settings

    try:
        arguments = json.loads(kwargs)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise Unprocessable(f'{kwargs!r} is no JSON object. Use one like \'{{"word": "hello"}}\'.')
    sender = TaskSender(get_settings())
    try:
        task_id = str(sender.send_by_name(name, queue=queue, kwargs=arguments))
    except ValueError as bad:
        raise Unprocessable(str(bad)) from None
    finally:
        sender.close()
    answer({"id": task_id}, task_id, as_json=as_json)
