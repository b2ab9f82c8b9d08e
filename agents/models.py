"""Who may act: projects (the tenants), agent profiles with their effort, and agent tokens."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Project(models.Model):
    """A tenant. `namespace` is its prefix in the registry; two projects never share one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=40)
    namespace = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["slug"], name="project_slug_unique"),
            models.UniqueConstraint(fields=["namespace"], name="project_namespace_unique"),
        ]
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class AgentProfile(models.Model):
    """A kind of agent: harness, model and effort. An environment's policy can name the profiles that it admits."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="profiles")
    name = models.CharField(max_length=64)
    harness = models.CharField(max_length=32)
    model = models.CharField(max_length=64, blank=True)
    effort = models.CharField(max_length=8, default="auto")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="profile_name_unique")]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AgentToken(models.Model):
    """A bearer token, `sam_{id}_{secret}`. The secret is shown once; its SHA-256 is all that is kept.

    An empty `environment_ids` names every environment of the project.
    """

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="tokens")
    name = models.CharField(max_length=64)
    secret_sha256 = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=32))
    environment_ids = ArrayField(models.UUIDField(), default=list, blank=True)
    profile = models.ForeignKey(AgentProfile, on_delete=models.PROTECT, null=True, blank=True, related_name="tokens")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
