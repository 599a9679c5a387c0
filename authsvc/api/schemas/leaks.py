"""The bodies of reports of leaked tokens, and their answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints

from authsvc.api.schemas.fields import Answer, Body
from authsvc.api.schemas.patterns import PLACE_PATTERN
from authsvc.core.leak import MAX_PLACE, MAX_TOKENS

Place = Annotated[str, StringConstraints(max_length=MAX_PLACE, pattern=PLACE_PATTERN)]


class LeakReport(Body):
    tokens: list[str] = Field(
        max_length=MAX_TOKENS,
        description="each `tok_…`, `ref_…`, `key_…`, `dev_…`, `rst_…` or `aut_…`; other texts are ignored",
        examples=[["tok_…", "ref_…"]],
        repr=False,
    )
    url: Place | None = Field(
        None,
        description="where they were found; recorded and never fetched",
        examples=["https://paste.example/4711"],
        repr=False,
    )


class Accepted(Answer):
    """An empty object, whatever the tokens were."""


class GithubFind(BaseModel):
    """One find of GitHub's secret scanning. Members that GitHub may add are ignored."""

    model_config = ConfigDict(defer_build=True, extra="ignore", hide_input_in_errors=True)

    token: str = Field(repr=False)
    type: str
    url: str | None = Field(None, repr=False)


class GithubFinds(RootModel[list[GithubFind]]):
    root: list[GithubFind] = Field(
        max_length=MAX_TOKENS,
        examples=[[{"token": "tok_…", "type": "authsvc_token", "url": "https://github.com/…", "source": "content"}]],
    )


class GithubLabel(Answer):
    """The answer to GitHub about one find."""

    token_hash: str = Field(description="SHA-256 of the text, in base64", repr=False)
    token_type: str = Field(description="the `type` of the find")
    label: Literal["true_positive", "false_positive"] = Field(
        description="by the check digits alone, which GitHub could compute itself"
    )


class GithubLabels(RootModel[list[GithubLabel]]): ...
