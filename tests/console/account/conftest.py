"""The account pages over ASGI: settings that serve them, and a person with a browser."""

from collections.abc import AsyncIterator, Callable

import pytest

from authsvc.settings import Settings
from tests.conftest import APP_SCOPE, CHEAP, Service
from tests.console.account.person import ORIGIN, Person, pages_of

APP = "https://app.example.org"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        **CHEAP,
        app_scope=APP_SCOPE,
        issuer=ORIGIN,
        account_pages=True,
        app_name="Example",
        allowed_origins=(APP,),
    )


@pytest.fixture
async def new_person(service: Service) -> AsyncIterator[Callable[[], Person]]:
    """Makes browsers, each with cookies of its own."""
    opened = []

    def made() -> Person:
        opened.append(pages_of(service))
        return Person(opened[-1])

    yield made
    for one in opened:
        await one.aclose()


@pytest.fixture
def person(new_person: Callable[[], Person]) -> Person:
    return new_person()
