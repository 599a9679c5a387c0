"""Puts the rows of an export into the fields of our own format."""

from collections.abc import Iterator
from dataclasses import dataclass

from authsvc.cli.imports.role_names import RoleNames
from authsvc.cli.imports.systems import System
from authsvc.errors import InvalidRequest
from authsvc.flows.import_users import Row


@dataclass(frozen=True, slots=True)
class Reader:
    """`username`: the field with the name to log in with; None is the usual one of the system."""

    system: System
    username: str | None
    roles: RoleNames
    ignore_unknown: bool

    def translated(self, found: Iterator[Row]) -> Iterator[Row]:
        for row in found:
            try:
                if row.fields is not None:
                    fields = self.system.read(row.fields, username=self.username, ignore_unknown=self.ignore_unknown)
                    row = Row(row.line, fields | {"roles": self.roles.translated(fields.get("roles"))})
            except InvalidRequest as error:
                row = Row(row.line, problem=str(error))
            yield row
