"""A real Prometheus with the product's rules, in a tenth of their time: an alert fires, and clears."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from infra.local import LocalError
from infra.local.ports import LOOPBACK, choose_ports
from infra.local.prometheus import configuration, ensure_prometheus, program
from tests.incidents.scaled import write_scaled
from tests.incidents.watching import Watcher
from tests.support.servers import wait_for


@contextmanager
def served(shown: CollectorRegistry, port: int) -> Iterator[None]:
    server, thread = start_http_server(port, addr=LOOPBACK, registry=shown)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def watched(server: Path, folder: Path, ports: dict[str, int]) -> Iterator[Watcher]:
    made = configuration({"rabbitmq": [ports["broker"]]}, rules=write_scaled(folder), seconds=0.2)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(made))
    run = program(server, config=config, data=folder / "data", port=ports["prometheus"])
    process = subprocess.Popen(run.command, stderr=subprocess.DEVNULL)
    watcher = Watcher(ports["prometheus"])
    try:
        wait_for(run.ready, seconds=30, what="Prometheus")
        yield watcher
    finally:
        watcher.close()
        process.terminate()
        process.wait(20)


def test_an_alert_fires_and_clears(tmp_path: Path) -> None:
    try:
        server, _ = ensure_prometheus(lambda _line: None)
    except LocalError as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    ports = choose_ports(["broker", "prometheus"], tmp_path / "ports.json", seed=str(tmp_path))
    shown = CollectorRegistry()
    alarm = Gauge("rabbitmq_alarms_free_disk_space_watermark", "Of the broker.", registry=shown)
    with served(shown, ports["broker"]), watched(server, tmp_path, ports) as watcher:
        # Nobody else is here, and what should be is missed.
        wait_for(lambda: watcher.fires("MillraceDispatcherStopped", {}), what="no dispatcher")
        assert not watcher.fires("MillraceBrokerDiskAlarm", {})
        alarm.set(1)
        wait_for(lambda: watcher.fires("MillraceBrokerDiskAlarm", {"severity": "page"}), what="it")
        alarm.set(0)
        wait_for(
            lambda: all(one.name != "MillraceBrokerDiskAlarm" for one in watcher.alerts()),
            what="its end",
        )
