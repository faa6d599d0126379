"""Links that the product signs, through the stack's proxy: for this address, and for nothing else."""

from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from app.settings import Settings
from app.storage import make_storage
from infra.local.ports import LOOPBACK, choose_ports
from tests.support.processes import Processes
from tests.support.proxy import find_caddy, proxy
from tests.support.servers import Servers

FILE = b"a,b\r\n1,2\r\n"
PART = bytes(range(256)) * 10


def test_links_lead_through_the_proxy_to_the_store_and_nothing_else_does(
    servers: Servers, environment: dict[str, str], tmp_path: Path
) -> None:
    caddy = find_caddy()
    port = choose_ports(["proxy"], tmp_path / "ports.json", seed=str(tmp_path))["proxy"]
    door = f"http://{LOOPBACK}:{port}"
    settings = Settings.of({**environment, "MILLRACE_S3_PUBLIC_ENDPOINT_URL": door})
    storage = make_storage(settings)
    storage.ensure_bucket()
    store = urlsplit(str(settings.s3_endpoint_url)).port
    assert store
    key = f"exports/{uuid4()}"
    storage.put(key, FILE, content_type="text/csv")
    program = proxy(caddy, tmp_path, port, store=store, bucket=settings.s3_bucket)
    with (
        Processes(servers, environment, tmp_path) as processes,
        httpx.Client(timeout=20, trust_env=False) as client,
    ):
        processes.start(program)
        link = storage.presign(key, seconds=60, filename="people.csv", content_type="text/csv")
        assert link.startswith(f"{door}/{settings.s3_bucket}/")
        found = client.get(link)
        assert (found.status_code, found.content) == (200, FILE)

        upload = storage.begin_multipart(key, content_type="text/csv")
        part = storage.presign_part(key, upload, 1, seconds=60)
        assert client.put(part, content=PART).status_code == 200
        parts = storage.list_parts(key, upload)
        assert parts is not None
        assert [one.size for one in parts] == [len(PART)]
        storage.abort_multipart(key, upload)

        assert client.get(f"{link[:-4]}0000").status_code == 403
        # Not the store's: the API's, and that is away.
        assert client.get(link.partition("?")[0]).status_code == 502
        assert client.delete(link).status_code == 502
        assert client.get(link.replace(settings.s3_bucket, "another", 1)).status_code == 502
