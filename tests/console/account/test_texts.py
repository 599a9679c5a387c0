"""The texts of the pages stand in one place, and a translation fits them."""

import re
from pathlib import Path

import pytest

import authsvc.console.account
from authsvc.console.account import texts
from authsvc.errors import StartupError

FOLDER = Path(authsvc.console.account.__file__).parent
TEMPLATES = FOLDER.parent / "templates" / "account"
# Names that are made of a prefix and a value.
_MADE = ("nav.", "event.", "time.", "error.")


def used() -> set[str]:
    """The names of texts in templates and modules."""
    sources = [*TEMPLATES.glob("*.html"), *FOLDER.glob("*.py")]
    return {name for file in sources for name in re.findall(r"""['"]([a-z_]+\.[a-z_]+)['"]""", file.read_text())}


def test_every_text_is_used() -> None:
    """A text that no page shows is no work for translators."""
    names = {name for name in texts.load(None).by_name if not name.startswith(_MADE) and name not in ("lang", "dir")}
    assert names - used() == set()


def test_no_text_stands_in_a_template() -> None:
    """Templates hold no words of their own, in texts and in labels."""
    for file in TEMPLATES.glob("*.html"):
        text = re.sub(r"\{[{%].*?[%}]\}", "", file.read_text(), flags=re.DOTALL)
        words = re.findall(r">([^<]*[A-Za-z]{2}[^<]*)<", text) + re.findall(
            r'(?:aria-label|title|alt)="([^"]*[a-z][^"]*)"', text
        )
        assert words == [], file.name


def test_a_translation(tmp_path: Path) -> None:
    """A file replaces the texts that it has. All others stay English."""
    file = tmp_path / "de.toml"
    file.write_text('lang = "de"\n[login]\ntitle = "Anmelden"\n[event]\n"login.failed" = "Fehlgeschlagene Anmeldung"\n')
    t = texts.load(file)
    assert (t("lang"), t("login.title"), t("login.password")) == ("de", "Anmelden", "Password")
    assert t("event.login.failed") == "Fehlgeschlagene Anmeldung"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[login]\ntitel = "Anmelden"', "there is no text login.titel"),
        ('[login]\nlead = "Anmelden"', "login.lead has to name {app}"),
        ('[login]\nlead = "Anmelden bei {name}"', "login.lead has to name {app}"),
        ('[login]\nlead = "Anmelden bei {app.__class__}"', "braces enclose names only"),
        ('[login]\nlead = "Anmelden bei {app!r}"', "braces enclose names only"),
        ("[login]\ntitle = 3", "login.title is no text in quotation marks"),
        ("[login", "Expected ']'"),
    ],
)
def test_a_translation_that_does_not_fit(tmp_path: Path, content: str, reason: str) -> None:
    """A mistake in a translation stops the start, and says where it is."""
    file = tmp_path / "texts.toml"
    file.write_text(content)
    with pytest.raises(StartupError, match="AUTHSVC_APP_TEXTS") as raised:
        texts.load(file)
    assert reason in str(raised.value)


def test_a_translation_that_is_not_there(tmp_path: Path) -> None:
    """A missing file stops the start."""
    with pytest.raises(StartupError, match="AUTHSVC_APP_TEXTS: No such file"):
        texts.load(tmp_path / "none.toml")
