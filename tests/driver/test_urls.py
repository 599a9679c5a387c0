"""What a store's URL may say, and that nothing of it gets into an error."""

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from authsvc.driver.urls import StoreUrl
from authsvc.errors import StartupError
from authsvc.settings import Settings


def test_one_server() -> None:
    """Address, database and credentials, percent-encoded or not."""
    url = StoreUrl.parse("redis://ada:s%2F3@store.test:7000/2")
    assert (url.shape, url.hosts) == ("server", (("store.test", 7000),))
    assert url.options == {"username": "ada", "password": "s/3", "db": 2}


def test_tls() -> None:
    """The authority is named by the URL, and the host's name is checked unless it says otherwise."""
    url = StoreUrl.parse("rediss://store.test?ssl_ca_certs=/etc/ca.pem")
    assert url.options == {"connection_class": SSLConnection, "ssl_ca_certs": "/etc/ca.pem"}
    assert StoreUrl.parse("rediss://store.test?ssl_check_hostname=no").options["ssl_check_hostname"] is False


def test_a_unix_socket() -> None:
    """Its path, and the database as an option."""
    url = StoreUrl.parse("unix:///run/valkey.sock?db=3")
    assert url.hosts == ()
    assert url.options == {"path": "/run/valkey.sock", "connection_class": UnixDomainSocketConnection, "db": 3}


def test_sentinels() -> None:
    """Several addresses, the service's name, a database; the sentinels have credentials of their own, or none."""
    url = StoreUrl.parse("redis+sentinel://:s3cret@a:1,b,[::1]:3/main/4?sentinel_username=u&sentinel_password=p%25")
    assert (url.shape, url.hosts, url.service) == ("sentinel", (("a", 1), ("b", 26379), ("::1", 3)), "main")
    assert url.options == {"password": "s3cret", "db": 4}
    assert url.sentinel_options == {"username": "u", "password": "p%"}
    assert StoreUrl.parse("redis+sentinel://:s3cret@a/main").sentinel_options == {}


def test_a_cluster() -> None:
    """Several addresses, to begin with; over TLS both to the servers and to whoever tells of them."""
    url = StoreUrl.parse("rediss+cluster://a:1,b?ssl_ca_certs=/ca")
    assert (url.shape, url.hosts) == ("cluster", (("a", 1), ("b", 6379)))
    assert url.options == {"connection_class": SSLConnection, "ssl_ca_certs": "/ca"}
    assert StoreUrl.parse("rediss+sentinel://a/x?ssl_ca_certs=/ca").sentinel_options == url.options


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@a",
        "redis+ring://:s3cret@a",
        "unix+sentinel://:s3cret@a/x",
        "redis+sentinel://:s3cret@a",
        "redis+cluster://:s3cret@a/1",
        "redis://:s3cret@a:port",
        "redis://:s3cret@a:99999",
        "redis://:s3cret@a/zero",
        "redis://:s3cret@a?socket_timeout=99",
        "redis://:x@a?s3cret=1",
        "redis://:x@a?db=s3cret",
        "redis://a?sentinel_password=s3cret",
        "redis://:s3cret@[a",
    ],
)
def test_what_is_wrong(url: str) -> None:
    """Refused at the start, in words that hold nothing of what was written."""
    with pytest.raises(StartupError) as refused:
        StoreUrl.parse(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "s3cret" not in repr(StoreUrl.parse("redis+sentinel://:s3cret@a/x?sentinel_password=s3cret"))


@pytest.mark.parametrize("scheme", ["http", "redis+ring", "unix+sentinel", "redis+sentinels"])
def test_the_setting(scheme: str) -> None:
    """It is refused by its name, with what it may begin with."""
    with pytest.raises(StartupError, match=r"^AUTHSVC_REDIS_URL: has to begin with .*redis\+cluster://"):
        Settings.from_environment({"AUTHSVC_REDIS_URL": f"{scheme}://a"})
