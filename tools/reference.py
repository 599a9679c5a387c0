"""Makes the pages of the reference from the code: settings, calls, commands, the list of decisions."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click
import yaml

from authsvc.cli import EPILOG, cli
from authsvc.settings import PREFIX, Settings

_WHO = {
    "basic": "a client, by HTTP Basic",
    "bearer": "a user, by `Authorization: Bearer`",
    "cookie": "a user, by the cookie",
}
# The statuses that every call may answer. The page lists them once.
_COMMON = ("413", "415", "431", "500", "503")
_BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} of them",
}


def pages(root: Path) -> dict[str, str]:
    """The text of each page by its path under docs/."""
    contract = yaml.safe_load((root / "openapi.yaml").read_text())
    return {
        "reference/settings.md": settings(),
        "reference/calls.md": "\n".join(_Calls(contract).lines()),
        "reference/commands.md": "\n".join(commands()) + "\n",
        "decisions/index.md": decisions(root / "docs" / "decisions"),
    }


def settings() -> str:
    """Every setting, from the model."""
    fields = Settings.model_json_schema()["properties"]
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_type(field, {})} | {_default(name, field)} | {field.get('description', '')} |"
        for name, field in fields.items()
    ]
    return _SETTINGS + "\n".join(rows) + "\n"


_SETTINGS = """# Settings

Every setting there is, made from the model that reads them (`authsvc/settings.py`). They are environment variables;
nothing else configures the service.

- Each may have `_FILE` at the end of its name, and is then read from the file that its value names: for secrets that
  are mounted. Both at once are refused, and so is an empty file.
- Lists are words with spaces or commas between.
- What is unknown or wrong ends the start with one line that names the variable. The line shows a value only where it
  can be no secret: a short value of a number or a choice, a network, and the host or origin of a web page.
- `authsvc serve --settings` prints this list.
- `authsvc check` says what of the settings is not as it should be.

| variable | takes | default | |
| --- | --- | --- | --- |
"""


def _default(name: str, field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "none"
    if isinstance(value, list):
        return " ".join(f"`{one}`" for one in value) or "none"
    return f"`{value}`"


def _type(field: dict[str, Any], schemas: dict[str, Any]) -> str:
    """A type in words, with its bounds."""
    if "$ref" in field:
        field = schemas[field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        kinds = [_type(kind, schemas) for kind in field["anyOf"] if kind.get("type") != "null"]
        return ", or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return " or ".join(f"`{one}`" for one in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        items = _type(field.get("items", {}), schemas)
        words = "list of words" if items.startswith("string") else f"list of {items}"
    else:
        words = {"integer": "whole number", "boolean": "yes or no"}.get(field.get("type", ""), field.get("type", "any"))
    bounds = [text.format(field[name]) for name, text in _BOUNDS.items() if name in field]
    least, most = field.get("minimum"), field.get("maximum")
    if most is not None:
        bounds.append(f"{least or 0:,} to {most:,}")
    elif least is not None:
        bounds.append(f"{least:,} or more")
    return ", ".join([words, *bounds])


def _example(kind: str, body: dict[str, Any]) -> list[str]:
    """The body of an example, as it is sent."""
    if kind == "application/json":
        return ["```json", json.dumps(body, indent=2, ensure_ascii=False), "```", ""]
    return ["```text", urlencode(body, safe="…"), "```", ""]


class _Calls:
    """The contract as a page."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self._contract = contract
        self._schemas: dict[str, Any] = contract["components"]["schemas"]
        self._answers: dict[str, Any] = contract["components"]["responses"]

    def lines(self) -> Iterator[str]:
        yield "# Calls"
        yield ""
        yield "Every call of the service, made from the contract, [openapi.yaml](../../openapi.yaml), which is also"
        yield "served at `/openapi.yaml`."
        yield ""
        yield from self._contract["info"]["description"].splitlines()[2:]
        yield f"- Any call may answer {', '.join(_COMMON)}, too; the tables have what else it refuses with."
        for tag in self._contract["tags"]:
            yield from ["", f"## {tag['name'].capitalize()}", "", f"{tag['description'].capitalize()}."]
            for path, verbs in self._contract["paths"].items():
                for method, call in verbs.items():
                    if call["tags"] == [tag["name"]]:
                        yield from self._call(method.upper(), path, call)

    def _call(self, method: str, path: str, call: dict[str, Any]) -> Iterator[str]:
        badge = f'<span class="method {method.lower()}">{method}</span>'
        yield from ["", f"### {badge} {path}", "", f"**{call['summary']}**", ""]
        if text := call.get("description"):
            yield from [text, ""]
        yield from [f"Who: {self._who(call)}.", ""]
        parameters = [one for one in call.get("parameters", ()) if "$ref" not in one]
        if parameters:
            yield from ["| parameter | takes | |", "| --- | --- | --- |"]
            for one in parameters:
                about = one.get("description", "")
                yield f"| `{one['name']}`, in the {one['in']} | {_type(one['schema'], self._schemas)} | {about} |"
            yield ""
        if "requestBody" in call:
            ((kind, body),) = call["requestBody"]["content"].items()
            yield from [f"Takes `{kind}`:", "", *self._fields(body["schema"]), ""]
            if "example" in body:
                yield from _example(kind, body["example"])
        for status, answer in call["responses"].items():
            if status.startswith("2"):
                yield from self._given(status, answer)
        refusals = [(status, one) for status, one in call["responses"].items() if status[0] != "2"]
        rows = [row for status, one in refusals if status not in _COMMON for row in self._refusal(status, one)]
        if rows:
            yield from ["| refused with | |", "| --- | --- |", *rows]

    def _who(self, call: dict[str, Any]) -> str:
        ways = [next(iter(way), None) for way in call.get("security", ())]
        named = [_WHO[way] for way in ways if way]
        if not named:
            return "anyone"
        return "; or ".join(named) + ("; or without either, as the call says" if None in ways else "")

    def _given(self, status: str, answer: dict[str, Any]) -> Iterator[str]:
        answer = self._answers[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        fields = list(self._fields(schema)) if schema else []
        kind = next(iter(answer.get("content", {})), None)
        told = ":" if fields else f", `{kind}`." if kind else ", without a body."
        yield from [f"Answers {status}{told}", "", *fields, ""]

    def _fields(self, schema: dict[str, Any]) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema:
            return
        required = set(schema.get("required", ()))
        yield from ["| field | is | |", "| --- | --- | --- |"]
        for name, field in schema["properties"].items():
            about = "" if name in required else "optional"
            words = ": ".join(filter(None, [about, field.get("description", "").replace("\n", " ")]))
            yield f"| `{name}` | {_type(field, self._schemas)} | {words} |"

    def _refusal(self, status: str, answer: dict[str, Any]) -> Iterator[str]:
        described = self._answers[answer["$ref"].rpartition("/")[2]]["description"]
        for line in re.split(r"\n(?=- )", described):
            code, _, words = line.removeprefix("- ").partition(": ")
            yield f"| {status} {code} | {' '.join(words.split())} |"


def commands() -> Iterator[str]:
    """Every command with its options, from the program itself."""
    yield from ["# Commands", "", "Every command of `authsvc`, made from the program. `-h` says the same."]
    paragraphs = [part.strip() for part in EPILOG.split("\n\n")]
    for part in paragraphs:
        if part.startswith("\b"):  # click's mark for text that is not wrapped
            yield from ["", "```text", part.removeprefix("\b").strip("\n"), "```"]
        else:
            yield from ["", part]
    yield from _command(cli, click.Context(cli, info_name="authsvc"))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, click.Context(child, info_name=name, parent=context))
        return
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ["", f"## {context.command_path}", "", command.help or "", "", "```text", usage, "```"]
    records = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    rows = [f"| `{names}` | {about} |" for names, about in (record for record in records if record)]
    if rows:
        yield from ["", "| option | |", "| --- | --- |", *rows]


def decisions(directory: Path) -> str:
    """The list of decisions, by their titles."""
    titles = {path.name: path.read_text().partition("\n")[0].lstrip("# ") for path in sorted(directory.glob("0*.md"))}
    rows = [f"- [{title}]({name})" for name, title in titles.items()]
    return "# Decisions\n\nThe reasons for choices that look wrong at first sight.\n\n" + "\n".join(rows) + "\n"
