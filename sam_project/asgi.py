"""The ASGI application that uvicorn serves."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

from .bodies import bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sam_project.settings")
application = bounded(get_asgi_application())
