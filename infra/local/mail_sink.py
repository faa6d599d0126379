"""`python -m infra.local.mail_sink PORT FOLDER`: an SMTP server that keeps every mail."""

import asyncio
import signal
import sys
from pathlib import Path

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

from infra.local.ports import LOOPBACK


async def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM; an accepted mail is in the maildir before the client hears 250."""
    handler = Mailbox(folder)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="localhost", enable_SMTPUTF8=True, loop=loop),
        host=LOOPBACK,
        port=port,
    )
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
