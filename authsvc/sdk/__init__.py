"""The former place of the SDK, for one more release. Import `authsvc_sdk` of the distribution `authsvc-sdk` instead."""

import warnings

from authsvc_sdk import *  # noqa: F403 - every public name, and nothing else
from authsvc_sdk import __all__ as __all__

warnings.warn("authsvc.sdk is deprecated: import authsvc_sdk instead", DeprecationWarning, stacklevel=2)
