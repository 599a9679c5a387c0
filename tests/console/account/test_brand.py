"""The application's name, colour and logo."""

from pathlib import Path

import pytest

from authsvc.app import build
from authsvc.console.account.brand import MAX_LOGO, Brand
from authsvc.errors import StartupError
from authsvc.flows.deps import Deps
from authsvc.settings import Settings
from tests.console.account.person import Person

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


class TestServed:
    @pytest.fixture
    def settings(self, settings: Settings, tmp_path: Path) -> Settings:
        logo = tmp_path / "logo.svg"
        logo.write_bytes(SVG)
        return settings.but(app_logo=logo, app_colour="#123456", app_name="Orders & More")

    async def test_name_colour_and_logo(self, person: Person) -> None:
        """The name is in the title and at the top, the colour in a stylesheet, and the logo is a picture."""
        await person.open("/account/login")
        assert "Orders &amp; More" in person.answer.text
        brand = person.http
        for path in ("theme.css", "logo"):
            url = next(part for part in person.answer.text.split('"') if part.startswith(f"/account/{path}?v="))
            answer = await brand.get(url)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"] == "image/svg+xml"
        # A script in the logo runs in no page: it is shown as a picture, and opened alone its own policy forbids it.
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        theme = await brand.get("/account/theme.css")
        assert "--accent: #123456" in theme.text


class TestTranslated:
    @pytest.fixture
    def settings(self, settings: Settings, tmp_path: Path) -> Settings:
        file = tmp_path / "ar.toml"
        file.write_text('lang = "ar"\ndir = "rtl"\n[login]\ntitle = "تسجيل الدخول"\n')
        return settings.but(app_texts=file)

    async def test_another_language(self, person: Person) -> None:
        """The pages have the texts of the file, and tell their language and the direction of its script."""
        await person.open("/account/login")
        assert '<html lang="ar" dir="rtl">' in person.answer.text
        assert "تسجيل الدخول" in person.text


async def test_without_colour_and_logo(person: Person) -> None:
    """Without these settings, the pages ask for neither."""
    await person.open("/account/login")
    assert "theme.css" not in person.answer.text
    assert "/account/logo" not in person.answer.text
    assert (await person.open("/account/logo")).status_code == 404


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"GIF89a", "is none of SVG, PNG, JPEG and WebP"), (b"<svg" + bytes(MAX_LOGO), "is over"), (None, "No such file")],
)
def test_a_logo_that_is_none(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """A logo that browsers could not show stops the start."""
    file = tmp_path / "logo"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartupError, match=r"^AUTHSVC_APP_LOGO: ") as raised:
        Brand.of("Example", logo=file)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value"), [("app_colour", "red"), ("app_colour", "#12345"), ("app_name", ""), ("app_name", "a:b")]
)
def test_a_setting_that_does_not_fit(field: str, value: str) -> None:
    """The start says what would be right."""
    with pytest.raises(StartupError, match=f"AUTHSVC_{field.upper()}: must be"):
        Settings().but(**{field: value})


async def test_the_name_is_that_of_the_host_by_default(deps: Deps) -> None:
    """Without a name, people see the host of the issuer. The pages are made at the start, so a mistake stops it."""
    settings = deps.settings.but(app_name=None)
    assert settings.app_title == "auth.test"
    build(deps)
