"""The value of the Host field (RFC 9112 section 3.2), on the fast path and on the general way."""

import json

import pytest

from tests.conftest import Service
from tests.edge.served import FORM, Served, basic

HOSTS = [
    *(b"auth.test", b"auth.test:8000", b"AUTH.TEST.", b"localhost", b"a_b", b"auth.test \t", b"192.0.2.7:80", b"999.1"),
    *(
        b"[::1]",
        b"[2001:DB8::1]:8000",
        b"[::ffff:192.0.2.7]",
        b"xn--80ak6aa92e.test",
        b"%D1%8F.test",
        b"a!$&'()*+,;=~b",
    ),
    *(b"", b" ", b":80", b"auth.test:", b"[::1]:"),
]
NO_HOSTS = [
    *(b"a b/c@d", b"a b/c@d,e", b"a b", b"a/b", b"a@b", b"a?b", b"a#b", b"a\\b", b'"a"', b"<a>", b"a|b", b"{a}"),
    *(b"http://a", b"a:b", b"a:80:80", b"a:-1", b"a:80 80", b"a:80, b", b"a%", b"a%4", b"a%zz", b"a\xff", "é".encode()),
    *(b"::1", b"[::1", b"::1]", b"[]", b"[a]", b"[:]", b"[::1::]", b"[192.0.2.7]", b"[::1]a", b"a[::1]", b"[::1%a]"),
    *(b"[fe80::1%25a]", b"a\tb", b"a^b"),
]  # fmt: skip


def requests(service: Service, token: bytes, host: bytes) -> list[bytes]:
    """Requests with this Host field, for each call of the fast path and for another one."""
    body = b"token=" + token
    form = b"Content-Type: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n" % (
        FORM,
        basic(*service.admin),
        len(body),
    )
    line = b"HTTP/1.1\r\nHost: %s\r\n" % host
    return [
        b"POST /introspect %s%s\r\n%s" % (line, form, body),
        b"GET /verify %sAuthorization: Bearer %s\r\n\r\n" % (line, token),
        b"GET /healthz %s\r\n" % line,
        b"GET /healthz %sUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" % line,
    ]


@pytest.mark.parametrize("fast", [True, False])
async def test_what_a_host_may_be(service: Service, fast: bool) -> None:
    """A name, an address and an empty value are taken. A port may follow. The fast path takes the same."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    served = Served(service, fast=fast)
    async with served.connected() as connection:
        for host in HOSTS:
            before = served.answered_fast
            for request in requests(service, token, host):
                assert (await connection.ask(request))[0] == 200, request
            assert served.answered_fast - before == (2 if fast else 0)


@pytest.mark.parametrize("fast", [True, False])
async def test_what_no_host_may_be(service: Service, fast: bool) -> None:
    """Any other value is 400, and the end of the connection, for every call and in HTTP/1.0."""
    await service.user()
    token = (await service.login())["access_token"].encode()
    served = Served(service, fast=fast)
    async with served.listening() as address:
        for host in NO_HOSTS:
            asked = requests(service, token, host)
            for request in (*asked, asked[2].replace(b"HTTP/1.1", b"HTTP/1.0")):
                connection = await served.client(address)
                status, headers, body = await connection.ask(request)
                assert (status, json.loads(body)["error"]) == (400, "invalid_request"), request
                assert headers[b"connection"] == b"close"
                assert await connection.reader.read() == b""
    assert served.answered_fast == 0
