"""The texts that a start prints for the operator."""

import shlex

from authsvc import __version__
from authsvc.core.address import in_url
from authsvc.ops.location import location
from authsvc.settings import Settings


def banner(settings: Settings) -> str:
    """One line: which version serves where, and where its state is."""
    state = location(settings.redis_url, settings.data_dir)
    public = f" ({settings.base_url} to others)" if settings.issuer else ""
    # A browser sends the cookie only to the name that set it, and developers load their pages from localhost.
    pages = f", for pages in a browser {settings.browser_url}" if settings.browser_url != settings.base_url else ""
    return f"authsvc {__version__} on http://{in_url(settings.host)}:{settings.port}{public}{pages}, state in {state}"


def first_steps(base: str, client_id: str, secret: str) -> str:
    """The text of the first start: the admin's secret, which is shown this once, and five commands to try it with."""
    as_json = "-H 'Content-Type: application/json' -d"
    ada = '"username": "ada", "password": "a walk by the river"'
    url = shlex.quote(base)  # zsh takes the brackets of an IPv6 address for a pattern
    pick = 'import json, sys; print(json.load(sys.stdin)["access_token"])'
    return f"""
First start: this is the admin client. The secret is shown this once; keep it.

  client_id      {client_id}
  client_secret  {secret}

Try it, line by line, in another terminal:

  ADMIN={client_id}:{secret}
  curl -s -u $ADMIN {url}/admin/users {as_json} '{{{ada}, "roles": ["editor"]}}'
  TOKEN=$(curl -s {url}/login {as_json} '{{{ada}}}' | python3 -c '{pick}'); echo $TOKEN
  curl -s -u $ADMIN {url}/introspect -d token=$TOKEN
  curl -s -u $ADMIN {url}/revoke -d token=$TOKEN
  curl -s -u $ADMIN {url}/introspect -d token=$TOKEN
"""
