"""Taking tokens back."""

from tests.conftest import Service


async def test_revoked_token_is_dead_on_the_next_request(service: Service) -> None:
    """After /revoke has answered, the session's tokens are inactive."""
    await service.user()
    tokens = await service.login()
    assert await service.active(tokens["access_token"])
    answer = await service.http.post("/revoke", data={"token": tokens["access_token"]}, auth=service.admin)
    assert answer.status_code == 200
    assert not await service.active(tokens["access_token"])
    assert not await service.active(tokens["refresh_token"])
