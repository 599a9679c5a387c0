"""Keeps the list of the forms that imported hashes have, in the service record."""

from authsvc.core.hash_form import Form, with_form
from authsvc.core.imported_hash_text import parse
from authsvc.core.record import Service
from authsvc.errors import InvalidRequest
from authsvc.flows.deps import Deps

# How often the forms are counted anew while imported hashes are in use: the forms of users who have logged in go away.
COUNT_EVERY_S = 86400


async def forms_in_use(deps: Deps, service: Service, stored: str | None) -> tuple[str, ...]:
    """The forms of the service record, and the form of this hash. Adds a form that the record lacks.

    Only the import of an older version leaves the record without a form, and so does a change of this service's own
    parameters.
    """
    form = None if stored is None else _form_of(deps, stored)
    if form is None or with_form(service.hash_forms, form) is service.hash_forms:
        return service.hash_forms
    return (await add_form(deps, form)).hash_forms


async def add_form(deps: Deps, form: Form) -> Service:
    """Add a form to the service record. Losing it in a failover does no harm: the next login adds it again."""

    def change(held: Service) -> Service:
        forms = with_form(held.hash_forms, form)
        return held if forms is held.hash_forms else held.but(hash_forms=forms)

    return await deps.store.service.change(change, durable=False)


async def count_forms(deps: Deps) -> bool:
    """Replace the list by the forms in all credentials, if that is due. False if it is not, or if another worker does.

    A store from before this list has never been counted.
    """
    now = int(deps.clock())
    service = await deps.store.service.find()
    if service is None or not _due(service, now):
        return False

    def claim(held: Service) -> Service:
        return held.but(forms_counted_at=now) if _due(held, now) else held

    claimed = await deps.store.service.change(claim, durable=False)
    found: tuple[str, ...] = ()
    async for credentials in deps.store.listing.every_credentials():
        form = None if credentials.hash is None else _form_of(deps, credentials.hash)
        found = found if form is None else with_form(found, form)

    def replace(held: Service) -> Service:
        forms = found
        for form in set(held.hash_forms) - set(claimed.hash_forms):  # an import added them meanwhile
            forms = with_form(forms, Form.parse(form))
        return held.but(hash_forms=forms)

    await deps.store.service.change(replace, durable=False)
    return True


def _due(service: Service, now: int) -> bool:
    return now - service.forms_counted_at >= COUNT_EVERY_S and bool(service.hash_forms or not service.forms_counted_at)


def _form_of(deps: Deps, stored: str) -> Form | None:
    """The form of an imported hash; None for a hash of this service, and for one that nobody can log in with."""
    if not deps.hasher.outdated(stored):
        return None
    try:
        parsed = parse(stored)
        parsed.check_parameters()
    except InvalidRequest:
        return None
    return parsed.form
