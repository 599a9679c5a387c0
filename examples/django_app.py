"""Django with the introspector for threads, in one file. Any WSGI framework works in the same way.

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… python -m examples.django_app runserver --noreload
"""

import os
import sys
from collections.abc import Callable

import django
from authsvc_sdk import Introspector, Refused, Unavailable, accepted, demand, token_in
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

introspector = Introspector(
    os.environ["AUTH_URL"], os.environ["AUTH_CLIENT_ID"], os.environ["AUTH_CLIENT_SECRET"], cache=True
)


class Auth:
    """The middleware. It refuses callers without an active token. `request.active` describes the caller."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        header = request.headers.get("Authorization")
        try:
            token = token_in([header] if header else [])
            if token is None:
                raise Refused.without_token()
            request.active = accepted(introspector.introspect(token))
        except Unavailable as error:
            return answer(Refused.unavailable(error))
        except Refused as refused:
            return answer(refused)
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer with the refusal if a view demands more than the caller has."""
        return answer(error) if isinstance(error, Refused) else None


def answer(refused: Refused) -> HttpResponse:
    return HttpResponse(refused.body, status=refused.status, headers=refused.headers)


def notes(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"owner": request.active.display_name})


def editors(request: HttpRequest) -> HttpResponse:
    user = demand(request.active, role="editor")
    return JsonResponse({"editor": user.sub})


urlpatterns = [path("notes", notes), path("editors", editors)]

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.urandom(32).hex(),
    MIDDLEWARE=[f"{__name__}.Auth"],
)
django.setup()
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
