"""The Celery application: `celery -A workers.celery_app worker --queues=default`."""

from app.loading import loading

with loading():
    from app.settings import get_settings
    from workers.application import make_celery, read_command_line

app = make_celery(get_settings())
read_command_line()
