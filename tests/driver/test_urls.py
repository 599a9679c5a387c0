"""The URL of a store is parsed in full, and errors quote nothing of it."""

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from authsvc.driver.urls import StoreUrl
from authsvc.errors import StartupError
from authsvc.settings import Settings


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://ada:s3cret@store.test", "store.test:6379, database 0"),
        ("redis://:s3cret@127.0.0.1:6420/1", "127.0.0.1:6420, database 1"),
        ("rediss://:s3cret@[::1]:6420?db=2", "[::1]:6420, database 2"),
        ("unix://:s3cret@/run/store.sock", "/run/store.sock, database 0"),
        ("unix:///run/store.sock?db=3", "/run/store.sock, database 3"),
        (
            "redis+sentinel://:s3cret@a,b:7/main/4?sentinel_password=s3cret",
            "main of the sentinels a:26379, b:7, database 4",
        ),
        ("redis+cluster://:s3cret@a,b:7", "the cluster of a:6379, b:7"),
    ],
)
def test_where_the_store_is(url: str, where: str) -> None:
    """In words: the servers and the number of the database, without credentials."""
    assert StoreUrl.parse(url).where == where


def test_one_server() -> None:
    """A URL has an address, a database and credentials, which may be percent-encoded."""
    url = StoreUrl.parse("redis://ada:s%2F3@store.test:7000/2")
    assert (url.shape, url.hosts) == ("server", (("store.test", 7000),))
    assert url.options == {"username": "ada", "password": "s/3", "db": 2}


def test_tls() -> None:
    """The URL names the certificate authority, and can turn off the check of the host name."""
    url = StoreUrl.parse("rediss://store.test?ssl_ca_certs=/etc/ca.pem")
    assert url.options == {"connection_class": SSLConnection, "ssl_ca_certs": "/etc/ca.pem"}
    assert StoreUrl.parse("rediss://store.test?ssl_check_hostname=no").options["ssl_check_hostname"] is False


def test_a_unix_socket() -> None:
    """The URL of a Unix socket has a path, and the database as an option."""
    url = StoreUrl.parse("unix:///run/valkey.sock?db=3")
    assert url.hosts == ()
    assert url.options == {"path": "/run/valkey.sock", "connection_class": UnixDomainSocketConnection, "db": 3}


def test_sentinels() -> None:
    """A Sentinel URL has several addresses, a service and a database. Sentinels have their own credentials."""
    url = StoreUrl.parse("redis+sentinel://:s3cret@a:1,b,[::1]:3/main/4?sentinel_username=u&sentinel_password=p%25")
    assert (url.shape, url.hosts, url.service) == ("sentinel", (("a", 1), ("b", 26379), ("::1", 3)), "main")
    assert url.options == {"password": "s3cret", "db": 4}
    assert url.sentinel_options == {"username": "u", "password": "p%"}
    assert StoreUrl.parse("redis+sentinel://:s3cret@a/main").sentinel_options == {}


def test_a_cluster() -> None:
    """A Cluster URL has several addresses. TLS holds for servers, and for sentinels too."""
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
        "redis://:s3cret@a?sentinel_tls=yes",
        "redis+cluster://:s3cret@a?sentinel_tls=no",
        "redis+sentinel://:s3cret@a/x?sentinel_tls=s3cret",
        "redis+sentinel://:s3cret@a/x?sentinel_tls=",
        "redis://:s3cret@[a",
        "redis://:s3cret@a..b/1",
        "redis+sentinel://:s3cret@a,b..c/x",
        f"redis+cluster://:s3cret@{'a' * 64}",
        "unix://?db=1",
    ],
)
def test_a_wrong_url_is_refused(url: str) -> None:
    """A wrong URL is refused at the start, by an error that quotes nothing of it."""
    with pytest.raises(StartupError) as refused:
        StoreUrl.parse(url)
    assert str(refused.value).startswith("AUTHSVC_REDIS_URL: ")
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "s3cret" not in repr(StoreUrl.parse("redis+sentinel://:s3cret@a/x?sentinel_password=s3cret"))


def test_tls_to_one_side_only() -> None:
    """`sentinel_tls` chooses TLS for the sentinels alone, or for the store alone. The TLS options follow it."""
    sentinels = StoreUrl.parse("redis+sentinel://:s3cret@a/x/2?sentinel_tls=yes&ssl_ca_certs=/ca&ssl_check_hostname=no")
    assert sentinels.options == {"password": "s3cret", "db": 2}
    assert sentinels.sentinel_options == {
        "connection_class": SSLConnection,
        "ssl_ca_certs": "/ca",
        "ssl_check_hostname": False,
    }
    servers = StoreUrl.parse("rediss+sentinel://a/x?sentinel_tls=no&ssl_ca_certs=/ca&sentinel_username=u")
    assert servers.options == {"connection_class": SSLConnection, "ssl_ca_certs": "/ca"}
    assert servers.sentinel_options == {"username": "u"}
    assert StoreUrl.parse("redis+sentinel://a/x?sentinel_tls=no") == StoreUrl.parse("redis+sentinel://a/x")
    assert StoreUrl.parse("rediss+sentinel://a/x?sentinel_tls=yes") == StoreUrl.parse("rediss+sentinel://a/x")


@pytest.mark.parametrize("option", ["ssl_ca_certs=/ca", "ssl_certfile=/c", "ssl_keyfile=/k", "ssl_check_hostname=no"])
@pytest.mark.parametrize("url", ["redis://a", "unix:///s", "redis+sentinel://a/x", "redis+cluster://a"])
def test_an_option_of_tls_without_tls(url: str, option: str) -> None:
    """It would be ignored, or fail at the first connection."""
    with pytest.raises(StartupError) as refused:
        StoreUrl.parse(f"{url}?{option}")
    assert str(refused.value) == "AUTHSVC_REDIS_URL: the ssl_ options need rediss://"


@pytest.mark.parametrize(
    "url", ["redis://a?db=x", "redis://a?db=", "redis://a/x", "unix:///s?db=-1", "redis://a/\u0661"]
)
def test_a_database_that_is_no_number(url: str) -> None:
    """Wherever the URL names it, the error is about the number."""
    with pytest.raises(StartupError, match=r"^AUTHSVC_REDIS_URL: the database must be a number$"):
        StoreUrl.parse(url)


@pytest.mark.parametrize("scheme", ["http", "redis+ring", "unix+sentinel", "redis+sentinels"])
def test_a_wrong_setting_is_refused(scheme: str) -> None:
    """The error of a wrong scheme names the setting and the schemes that are allowed."""
    with pytest.raises(StartupError, match=r"^AUTHSVC_REDIS_URL: must begin with .*redis\+cluster://"):
        Settings.from_environment({"AUTHSVC_REDIS_URL": f"{scheme}://a"})
