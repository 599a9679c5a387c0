"""The settings of Django. A process can set them once: for Django's password hashers, and for the tests of the SDK."""

import django
from django.conf import settings

settings.configure(
    ROOT_URLCONF="tests.sdk.django_urls",
    ALLOWED_HOSTS=["testserver"],
    SECRET_KEY="made up",
    MIDDLEWARE=["authsvc_sdk.django.AuthMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "UNAUTHENTICATED_TOKEN": None},
    AUTHSVC={},
)
django.setup()
