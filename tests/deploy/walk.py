"""A walk through a running service, to test an installation."""

from tests.e2e.conftest import PASSWORD, Server


def walk(server: Server) -> None:
    """Create a user, log in, introspect the token, revoke it, and see it inactive."""
    ada = {"username": "ada", "password": PASSWORD}
    with server.http() as http:
        assert http.post("/admin/users", json=ada, auth=server.admin).status_code == 201
        token = {"token": http.post("/login", json=ada).json()["access_token"]}
        assert http.post("/introspect", data=token, auth=server.admin).json()["active"] is True
        assert http.post("/revoke", data=token, auth=server.admin).status_code == 200
        assert http.post("/introspect", data=token, auth=server.admin).json() == {"active": False}
