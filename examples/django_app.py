"""Django with the middleware of the SDK, in one file.

AUTH_URL=… AUTH_CLIENT_ID=… AUTH_CLIENT_SECRET=… python -m examples.django_app runserver --noreload
"""

import os
import sys

import django
from authsvc_sdk.django import require
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

if missing := sorted({"AUTH_URL", "AUTH_CLIENT_ID", "AUTH_CLIENT_SECRET"} - os.environ.keys()):
    sys.exit(f"set {', '.join(missing)}: docs/guides/django.md says how")

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.urandom(32).hex(),
    MIDDLEWARE=["authsvc_sdk.django.AuthMiddleware"],
    AUTHSVC={
        "url": os.environ["AUTH_URL"],
        "client_id": os.environ["AUTH_CLIENT_ID"],
        "client_secret": os.environ["AUTH_CLIENT_SECRET"],
    },
)
django.setup()


def notes(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"owner": request.active.display_name})


@require(role="editor")
def editors(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"editor": request.active.sub})


urlpatterns = [path("notes", notes), path("editors", editors)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
