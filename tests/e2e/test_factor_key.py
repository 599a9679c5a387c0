"""The factor key of an embedded store, with real processes."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import PASSWORD, Server, run
from tests.e2e.test_versions import code_of


@pytest.mark.slow
def test_the_key_is_beside_the_data(server: Server) -> None:
    """One-time codes work with nothing configured. A service without the key of its users does not start."""
    key = Path(f"{server.data_dir}.factor-key")
    assert key.stat().st_mode & 0o777 == 0o600
    login = {"username": "ada", "password": PASSWORD}
    with server.http(auth=server.admin) as http:
        assert http.post("/admin/users", json=login).status_code == 201
    with server.http() as http:
        headers = {"Authorization": f"Bearer {http.post('/login', json=login).json()['access_token']}"}
        begun = http.post("/factors/totp", headers=headers).json()
        code = {"code": code_of(begun["secret"])}
        confirmed = http.post(f"/factors/totp/{begun['id']}/confirm", headers=headers, json=code)
        assert confirmed.status_code == 200, confirmed.text
        step = http.post("/login", json=login).json()["auth_session"]
    server.stop()
    held = key.read_text()
    key.unlink()
    environment = {"AUTHSVC_DATA_DIR": str(server.data_dir), "AUTHSVC_PORT": str(server.port)}
    for wrong in (None, "a wrong key, which is as long as a right one is"):
        if wrong is not None:
            key.write_text(wrong)
            key.chmod(0o600)
        refused = run("serve", cwd=server.directory, **environment)
        assert refused.returncode != 0
        assert "forget-factor-keys" in refused.stderr
        assert held.strip() not in refused.stderr + refused.stdout + server.log
        assert (key.read_text() if key.exists() else None) == wrong
        rows = json.loads(run("check", "--json", cwd=server.directory, **environment).stdout)["checks"]
        (row,) = [row for row in rows if row["check"] == "second factors"]
        assert row["result"] == "fail"
        assert row["why"] in refused.stderr
    key.write_text(held)
    key.chmod(0o600)
    server.start()
    with server.http() as http:
        answer = {"auth_session": step, "code": confirmed.json()["recovery_codes"][0]}
        assert http.post("/login/recovery", json=answer).status_code == 200
