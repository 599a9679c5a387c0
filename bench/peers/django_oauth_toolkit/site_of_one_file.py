"""A Django site that is nothing but django-oauth-toolkit. As a program: makes the database and prints its tokens.

python site_of_one_file.py COUNT
"""

import os
import sys
from datetime import timedelta
from typing import Any

import django  # type: ignore[import-not-found, unused-ignore]  # lives in an environment of its own
from django.conf import settings  # type: ignore[import-not-found, unused-ignore]
from django.core.management import call_command  # type: ignore[import-not-found, unused-ignore]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-not-found, unused-ignore]
from django.urls import include, path  # type: ignore[import-not-found, unused-ignore]

settings.configure(
    SECRET_KEY="k" * 50,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_DATABASE"],
            "CONN_MAX_AGE": None,  # otherwise it connects anew for each request
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;"},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    OAUTH2_PROVIDER={"SCOPES": {"read": "Read", "introspection": "Introspect"}},
)

django.setup()  # the views below need the models

urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def fill(count: int) -> None:
    from django.contrib.auth import get_user_model  # type: ignore[import-not-found, unused-ignore]
    from django.utils import timezone  # type: ignore[import-not-found, unused-ignore]
    from oauth2_provider.models import (  # type: ignore[import-not-found, unused-ignore]
        AccessToken,
        Application,
    )
    from oauthlib.common import generate_token  # type: ignore[import-untyped, import-not-found, unused-ignore]

    users: Any = get_user_model().objects
    users.bulk_create(users.model(username=f"user{number:07d}") for number in range(count))
    application = Application.objects.create(
        client_id="resource",
        client_secret="s" * 32,
        # Hashed, it would be compared by PBKDF2 on each request: a few answers in a second.
        hash_client_secret=False,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )
    expires = timezone.now() + timedelta(days=1)
    for user in users.all():
        token = generate_token()
        AccessToken.objects.create(user=user, application=application, token=token, expires=expires, scope="read")
        print(token)


if __name__ == "__main__":
    from django.db import transaction  # type: ignore[import-not-found, unused-ignore]

    # The migrations want to be outside of a transaction, ten thousand inserts inside of one.
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        fill(int(sys.argv[1]))
else:
    application = get_wsgi_application()
