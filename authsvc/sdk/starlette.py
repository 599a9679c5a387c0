"""The former place of `authsvc_sdk.starlette`."""

from authsvc_sdk.starlette import require as require
