"""Decides for an import which forms of hashes it takes: it measures each form once on this machine."""

import asyncio

from authsvc.core.hash_form import Form, with_form
from authsvc.core.imported_hash_text import Accepted
from authsvc.errors import InvalidRequest
from authsvc.flows.deps import Deps
from authsvc.flows.hash_forms import add_form
from authsvc.hashing.cost import cost_of


class ImportedForms:
    """The forms of one import. A form that another one covers takes no more, and is not measured again.

    A table may have a number of iterations of its own for each user.
    """

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._taken: tuple[str, ...] = ()
        self._registered: tuple[str, ...] = ()
        self._covered: set[Form] = set()
        self._refused: dict[Form, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def check(self, hash_: Accepted) -> None:
        """Raise InvalidRequest if checking such a hash takes too much here. The text names bound, value and limit."""
        if hash_.form in self._covered:
            return
        async with self._one_at_a_time:
            if hash_.form in self._refused:
                raise InvalidRequest(self._refused[hash_.form])
            if not self._deps.hasher.outdated(hash_.text):
                return
            forms = with_form(self._taken, hash_.form)
            if forms is not self._taken:
                await self._measure(hash_.form)
            self._taken = forms
            self._covered.add(hash_.form)

    async def register(self) -> None:
        """Make the forms known to all workers. Raises StoreUnavailable."""
        for form in set(self._taken) - set(self._registered):
            await add_form(self._deps, Form.parse(form))
        self._registered = self._taken

    async def _measure(self, form: Form) -> None:
        try:
            await asyncio.to_thread(cost_of, form)
        except InvalidRequest as error:
            self._refused[form] = str(error)
            raise
