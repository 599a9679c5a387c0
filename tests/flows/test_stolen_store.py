"""Nothing in a stolen store logs anybody in."""

import re

import pytest
import redis

from authsvc.core import token as tokens
from authsvc.core import totp as codes
from authsvc.core.token import Kind
from authsvc.errors import AuthError, InsufficientAuthorization
from authsvc.flows import factors, steps, totp
from tests.conftest import Clock
from tests.flows.conftest import World
from tests.flows.contents import texts
from tests.flows.test_steps import by_code, by_recovery, enrolled, first_step


def words(valkey: "redis.Redis") -> set[str]:
    """Every word of every key and value in the store."""
    found: set[str] = set()
    for text in texts(valkey):
        found |= {word.decode() for word in re.findall(rb"[A-Za-z0-9+/=_.-]{6,}", text)}
        found |= {part for word in found for part in word.split(":")}
    return found


async def test_a_stolen_store_logs_nobody_in(world: World, clock: Clock, valkey: "redis.Redis") -> None:
    """A thief of the store and of the password tries all that the store holds: as a code, a token and a seed."""
    phone = await enrolled(world, clock)
    await by_code(world, await first_step(world), phone.code(), trust_device=True)
    await by_recovery(world, await first_step(world), phone.recovery_codes[0])
    clock.forward(60)
    await first_step(world)
    stolen = words(valkey)
    held = await world.deps.store.factors.get(phone.user.sub)
    nonce = held.apps[0].nonce
    assert nonce is not None
    assert {nonce, *held.codes, held.devices[0].digest} <= stolen, "the search finds what is there"
    account = await world.deps.store.users.find_account(phone.user.sub)
    assert account is not None
    for word in stolen:
        assert await factors.ProofByRecoveryCode(world.deps, word)(account) is None
        assert await totp.proof_by_code(world.deps, word[:6])(account) is None
        for seed in (word.encode(), word.encode()[:20]):
            code = codes.code_at(seed, int(clock()) // codes.PERIOD_S)
            # One guess of a million is right by chance; this store was drawn so that none is.
            if code not in {phone.code(n) for n in (-1, 0, 1)}:
                assert await totp.proof_by_code(world.deps, code)(account) is None
    handles = {word for word in stolen if tokens.is_handle(word)}
    presented = stolen | {f"{kind}_{handle}{'0' * 33}" for handle in handles for kind in Kind}
    for text in presented:
        try:
            await steps.find(world.deps, text)
        except AuthError:
            continue
        raise AssertionError("a login in progress was continued")
    for text in presented:
        assert steps.missing(world.deps, world.app, text, account) is not None
    with pytest.raises(InsufficientAuthorization):
        await world.login()
