"""The client for addresses that customers name, against a server that misbehaves."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.outbound.errors import (
    AddressRefused,
    AnswerTooLarge,
    ConnectionFailed,
    InvalidUrl,
    NameUnknown,
    OutboundError,
    TimedOut,
)
from app.outbound.http import OutboundHttp
from tests.support.receiver import (
    Manner,
    Names,
    Receiver,
    answers,
    breaks_off,
    drips,
    floods,
    hangs_up,
    receiving,
)

LOOPBACK = [ip_network("127.0.0.0/8")]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def client() -> OutboundHttp:
    return OutboundHttp(allowed=LOOPBACK)


def test_a_request_arrives_as_it_was_given(receiver: Receiver) -> None:
    names = Names("127.0.0.1")
    client = OutboundHttp(allowed=LOOPBACK, resolver=names)
    receiver.usual = answers(202, b"thanks", x_one="1")
    url = receiver.url("/a/b?c=d", host="hook.example")
    answer = client.send("POST", url, headers={"x-mine": "yes"}, content=b"{}")
    assert (answer.status, answer.body, answer.headers["x-one"]) == (202, b"thanks", "1")
    (got,) = receiver.got
    assert (got.method, got.path, got.body, got.headers["x-mine"]) == (
        "POST",
        "/a/b?c=d",
        b"{}",
        "yes",
    )
    assert got.headers["host"] == f"hook.example:{receiver.port}"
    assert names.asked == ["hook.example"], "one look-up, and the connection goes to its answer"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::1]",  # noqa: S104
     "[::ffff:127.0.0.1]", "[::]", "[64:ff9b::7f00:1]", "169.254.169.254", "10.0.0.1"],
)  # fmt: skip
def test_private_addresses_are_refused_however_they_are_written(
    receiver: Receiver, host: str
) -> None:
    client = OutboundHttp()
    url = receiver.url(host=host)
    for call in (lambda: client.check(url), lambda: client.send("GET", url, seconds=2)):
        with pytest.raises((AddressRefused, NameUnknown, InvalidUrl)):
            call()
    assert receiver.got == []


def test_a_name_that_moves_inside_after_the_check_is_refused(receiver: Receiver) -> None:
    client = OutboundHttp(resolver=Names("93.184.216.34", "127.0.0.1"))
    url = receiver.url(host="rebind.example")
    client.check(url)
    with pytest.raises(AddressRefused):
        client.send("POST", url, content=b"{}")
    assert receiver.got == []


def test_of_several_addresses_the_ones_inside_are_left_out(receiver: Receiver) -> None:
    names = Names("10.0.0.1 ::1 127.0.0.2 127.0.0.1")  # nobody listens on 127.0.0.2
    client = OutboundHttp(allowed=LOOPBACK, resolver=names)
    assert client.send("GET", receiver.url(host="many.example"), seconds=3).status == 200


def test_a_redirect_is_an_answer_and_is_not_followed(
    receiver: Receiver, client: OutboundHttp
) -> None:
    receiver.manners.append(answers(307, location=receiver.url("/inside")))
    assert client.send("POST", receiver.url(), content=b"{}").status == 307
    assert [got.path for got in receiver.got] == ["/hook"]


@pytest.mark.parametrize(
    "manner", [drips(b""), drips(b"HTTP/1.1 200 OK\r\nx-long: "), drips(HEAD)],
    ids=["status", "headers", "body"],
)  # fmt: skip
def test_a_slow_drip_ends_with_the_whole_time(
    receiver: Receiver, client: OutboundHttp, manner: Manner
) -> None:
    receiver.usual = manner
    began = time.monotonic()
    with pytest.raises(TimedOut):
        client.send("GET", receiver.url(), seconds=0.4)
    assert time.monotonic() - began < 5


def test_an_excerpt_is_what_came(receiver: Receiver, client: OutboundHttp) -> None:
    receiver.manners.extend([drips(HEAD + b"begin"), breaks_off, floods(10 * 1024 * 1024)])
    slow, broken, huge = (
        client.send("GET", receiver.url(), seconds=seconds, max_bytes=1024, excerpt=True)
        for seconds in (1.5, 20, 20)
    )
    assert slow.body.startswith(b"begin")
    assert broken.body == b"half"
    assert huge.body == b"y" * 1024
    assert {each.status for each in (slow, broken, huge)} == {200}
    assert not any(each.whole for each in (slow, broken, huge))


@pytest.mark.parametrize(
    ("manner", "error"),
    [
        (floods(1024 * 1024), AnswerTooLarge),
        (breaks_off, ConnectionFailed),
        (hangs_up, ConnectionFailed),
        (lambda to: to.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\r\n"), ConnectionFailed),
        (
            lambda to: to.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000),
            ConnectionFailed,
        ),
    ],
    ids=["huge", "half", "nothing", "other protocol", "endless headers"],
)
def test_other_misbehaviour_is_an_error_with_a_name(
    receiver: Receiver, client: OutboundHttp, manner: Manner, error: type[OutboundError]
) -> None:
    receiver.usual = manner
    with pytest.raises(error):
        client.send("GET", receiver.url(), seconds=5, max_bytes=100_000)


def test_nobody_there(client: OutboundHttp) -> None:
    with receiving() as gone:
        url = gone.url()
    with pytest.raises(ConnectionFailed):
        client.send("GET", url)
    with pytest.raises(NameUnknown):
        client.send("GET", "http://nowhere.invalid/", seconds=5)


def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, client: OutboundHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url("/"))
        assert client.send("GET", receiver.url()).status == 200
        assert proxy.got == []


def test_the_certificate_is_checked_for_the_name_in_the_url(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", certificate, "-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusted = ssl.create_default_context(cafile=str(certificate))
    names = Names("127.0.0.1")
    with receiving(tls=server) as receiver:
        client = OutboundHttp(allowed=LOOPBACK, resolver=names, certificates=trusted)
        good = receiver.url(host="hook.example", scheme="https")
        assert client.send("POST", good, content=b"{}").status == 200
        with pytest.raises(ConnectionFailed, match="certificate"):
            client.send("POST", receiver.url(host="other.example", scheme="https"), content=b"{}")
        with pytest.raises(ConnectionFailed, match="certificate"):
            OutboundHttp(allowed=LOOPBACK, resolver=names).send("POST", good, content=b"{}")
        assert len(receiver.got) == 1
