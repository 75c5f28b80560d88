"""
Frameworks: ASGI and WSGI middleware, a FastAPI dependency, refusals as HTTP answers.
"""

from taximeter_sdk.web.asgi import TaximeterMiddleware
from taximeter_sdk.web.refusals import Refusal, refusal_of
from taximeter_sdk.web.wsgi import TaximeterWSGI

__all__ = ["Refusal", "TaximeterMiddleware", "TaximeterWSGI", "refusal_of"]
