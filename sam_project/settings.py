"""The one settings file: every value is read from the environment once, typed, and all faults are told at once.

A value NAME that is secret can be given as NAME_FILE, the path of a file that holds it. What `make up` chose lies in
`.sam/settings.env` (KEY=VALUE lines) and serves as the default, so that operator commands act on what runs.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from environs import EnvError, FileAwareEnv

BASE_DIR = Path(__file__).resolve().parent.parent


def _running_installation_defaults() -> None:
    """Take what `make up` wrote as defaults; the real environment wins. SAM_SETTINGS_FILE names another file."""
    path = Path(os.environ.get("SAM_SETTINGS_FILE", BASE_DIR / ".sam" / "settings.env"))
    if not path.is_file():
        return
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value)


def _key_of_32_bytes(value: str) -> bytes:
    try:
        raw = base64.b64decode(value.strip(), validate=True)
    except ValueError as fault:
        raise EnvError("SAM_KEK is not base64") from fault
    if len(raw) != 32:
        raise EnvError(f"SAM_KEK holds {len(raw)} bytes after base64; it takes 32")
    return raw


_running_installation_defaults()
env = FileAwareEnv(eager=False)
env.add_parser("key", lambda value, **_: _key_of_32_bytes(value))

DEBUG = env.bool("SAM_DEBUG", False)
SECRET_KEY = env.str("SAM_SECRET_KEY")
STATE_DIR = env.path("SAM_STATE_DIR", BASE_DIR / ".sam")
PUBLIC_URL = env.str("SAM_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
REGISTRY_URL = env.str("SAM_REGISTRY_URL", "http://127.0.0.1:5000").rstrip("/")
REGISTRY_TOKEN_KEY_FILE = env.path("SAM_REGISTRY_TOKEN_KEY_FILE", BASE_DIR / ".sam" / "registry" / "token.key")
REGISTRY_TOKEN_CERT_FILE = env.path("SAM_REGISTRY_TOKEN_CERT_FILE", BASE_DIR / ".sam" / "registry" / "token.crt")
# The authority of our own certificates, where it is not a public one; nodes get it with their user data.
CA_FILE = env.path("SAM_CA_FILE", None)
REGISTRY_CA_FILE = env.path("SAM_REGISTRY_CA_FILE", None) or CA_FILE
LOCAL_NODE_DIR = env.path("SAM_LOCAL_NODE_DIR", BASE_DIR / ".sam" / "node")
LOCAL_VOLUMES_DIR = env.path("SAM_LOCAL_VOLUMES_DIR", BASE_DIR / ".sam" / "volumes")
KEK = env.key("SAM_KEK")
APPLY_DEADLINE_SECONDS = env.int("SAM_APPLY_DEADLINE_SECONDS", 900)
# How long past the deadline the control plane waits for the node's own word before it says `unknown`.
APPLY_GRACE_SECONDS = env.int("SAM_APPLY_GRACE_SECONDS", 60)
PAYLOAD_LIFETIME_SECONDS = env.int("SAM_PAYLOAD_LIFETIME_SECONDS", 1800)
ALLOWED_HOSTS = env.list("SAM_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
DATABASE_URL = env.dj_db_url("DATABASE_URL", "postgres://sam:sam@127.0.0.1:5432/sam")
# Web and worker share connections; a command needs one, and would wait 20 s for the pool of a database that is away.
DATABASE_POOL = env.bool("SAM_DATABASE_POOL", True)
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
env.seal()

DATABASES = {"default": DATABASE_URL}
DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"].get("OPTIONS", {}),
    **({"pool": {"min_size": 1, "max_size": 24, "timeout": 20}} if DATABASE_POOL else {}),
    "options": "-c lock_timeout=15s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "timeline",
    "agents",
    "providers",
    "registry",
    "deployments",
]

# Nodes and agents bring their own authentication; nothing here may redirect or answer in their place.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "sam_project.middleware.for_people_only",
    "csp.middleware.CSPMiddleware",
]
PEOPLE_MIDDLEWARE = [
    # Synchronous, so it stands here: before machine paths it would keep a thread for each request that is held open.
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# They are in PEOPLE_MIDDLEWARE, where the check does not look.
SILENCED_SYSTEM_CHECKS = [
    "admin.E408", "admin.E409", "admin.E410", "security.W002", "security.W003",
    # Other names below ours, and a browser's built-in list, are for whoever owns the domain to decide.
    "security.W005", "security.W021",
]  # fmt: skip
MACHINE_PATHS = ("/api/", "/registry/", "/mcp", "/healthz", "/readyz", "/metrics")

ROOT_URLCONF = "sam_project.urls"
ASGI_APPLICATION = "sam_project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
WHITENOISE_USE_FINDERS = True
APPEND_SLASH = True

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
_TLS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _TLS
SECURE_SSL_REDIRECT = _TLS
SECURE_HSTS_SECONDS = 31_536_000 if _TLS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _TLS else None
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["deployments.api.agent.authentication.AgentTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "EXCEPTION_HANDLER": "deployments.api.errors.problem_response",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
    # `?format=` is no parameter of ours, and an unknown one is refused by name.
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "SAM deployment plane",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# slug -> how to reach that cloud; credentials and options of one account are rows, not settings.
PROVIDERS = {
    "local": {
        "class": "providers.local.LocalProvider",
        "options": {"node_dir": str(LOCAL_NODE_DIR), "volumes_dir": str(LOCAL_VOLUMES_DIR)},
    },
    "hetzner": {"class": "providers.hetzner.HetznerProvider"},
    "scaleway": {"class": "providers.scaleway.ScalewayProvider"},
    "qemu": {
        "class": "providers.qemu.QemuProvider",
        "options": {"directory": str(STATE_DIR / "qemu"), "image": str(STATE_DIR / "qemu" / "image")},
    },
}

CELERY = {
    "broker_url": REDIS_URL,
    "task_ignore_result": True,
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "worker_hijack_root_logger": False,
    "worker_send_task_events": False,
    "broker_connection_retry_on_startup": True,
    # A web request never waits for a broker that is away: the sweeps find what the lost nudge was for.
    "broker_transport_options": {"socket_connect_timeout": 1, "socket_timeout": 5, "max_retries": 0},
    "task_publish_retry": False,
    "beat_schedule_filename": str(STATE_DIR / "run" / "beat"),
}

LOGGING_CONFIG = None
