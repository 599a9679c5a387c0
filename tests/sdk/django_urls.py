"""The views of the Django project of `test_django`."""

from typing import Any

from authsvc_sdk.django import introspector, require
from django.http import HttpRequest, JsonResponse
from django.urls import path


def notes(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"owner": request.active.display_name if request.active else None})


@require(role="editor")
def editors(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"editor": request.active.sub})


@require(role="editor")
async def editors_async(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"editor": request.active.sub})


def exchange(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"token": introspector().exchange("tok_").token})


urlpatterns: list[Any] = [
    path("exchange", exchange),
    path("notes", notes),
    path("editors", editors),
    path("async", editors_async),
    path("admins", require(role="admin")(notes)),
    path("strong", require(acr="aal2", max_age_s=300)(notes)),
]

try:
    from rest_framework.decorators import api_view, authentication_classes, permission_classes
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.throttling import UserRateThrottle
except ImportError:
    pass
else:
    from authsvc_sdk.drf import BearerAuthentication
    from authsvc_sdk.drf import require as permitted

    class Often(UserRateThrottle):  # type: ignore[misc]  # Django REST framework has no types
        rate = "1000/min"

    def rest_view(*permissions: Any) -> Any:
        def view(request: Any) -> Response:
            assert Often().get_cache_key(request, None)
            return Response({"owner": request.user.username, "pk": request.user.pk, "acr": request.auth.acr})

        authenticated = authentication_classes([BearerAuthentication])(view)
        return api_view(["GET"])(permission_classes([IsAuthenticated, *permissions])(authenticated))

    urlpatterns += [
        path("rest/notes", rest_view()),
        path("rest/editors", rest_view(permitted(role="editor"))),
        path("rest/strong", rest_view(permitted(acr="aal2", max_age_s=300))),
    ]
