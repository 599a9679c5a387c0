"""What an installation is tried with."""

from tests.e2e.conftest import PASSWORD, Server


def walk(server: Server) -> None:
    """A user is created, logs in, is known, and is not any more once the token is revoked."""
    ada = {"username": "ada", "password": PASSWORD}
    with server.http() as http:
        assert http.post("/admin/users", json=ada, auth=server.admin).status_code == 201
        token = {"token": http.post("/login", json=ada).json()["access_token"]}
        assert http.post("/introspect", data=token, auth=server.admin).json()["active"] is True
        assert http.post("/revoke", data=token, auth=server.admin).status_code == 200
        assert http.post("/introspect", data=token, auth=server.admin).json() == {"active": False}
