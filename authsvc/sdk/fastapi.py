"""The former place of `authsvc_sdk.fastapi`."""

from authsvc_sdk.fastapi import BearerAuth as BearerAuth
