"""What is left outside the database when all is over: messages in queues, bytes that belong to nobody."""

import json
import os
import subprocess
from collections.abc import Iterator

from app.imports.files import import_of
from app.storage import make_storage
from infra.local.rabbitmq_binaries import server as rabbitmq_server
from tests.chaos.stage import Stage


def left_in_queues(stage: Stage) -> Iterator[str]:
    """Every queue that has messages, delivered ones included."""
    command = [str(rabbitmq_server().with_name("rabbitmqctl")), "--quiet", "--formatter=json"]
    vhost = ["--vhost", stage.settings.broker_url.get_secret_value().rpartition("/")[2]]
    done = subprocess.run(
        [*command, "list_queues", *vhost, "name", "messages"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **stage.system.rabbitmq.cli_environment()},
    )
    for queue in json.loads(done.stdout):
        if queue["messages"]:
            yield f"the queue {queue['name']} still has {queue['messages']} messages"


def left_in_store(stage: Stage) -> Iterator[str]:
    """Open multipart uploads, and files of no import."""
    storage = make_storage(stage.settings)
    for upload in storage.open_uploads():
        yield f"open multipart upload of {upload.key}"
    with stage.database() as tx:
        known = {row[0] for row in tx.execute("SELECT id FROM imports")}
    after = ""
    while page := storage.list_objects("tenants/", after=after):
        for item in page:
            if import_of(item.key) not in known:
                yield f"{item.key} belongs to no import"
        after = page[-1].key
