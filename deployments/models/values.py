"""Variables and secrets: named values of an environment, sharing one namespace."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from .environments import Environment


class NamedValue(models.Model):
    """A variable (`value`) or a secret (`ciphertext`, an AEAD bound to environment, name and version).

    The version grows with every change and never returns to an old number, also when a name is unset and set again.
    """

    VARIABLE: ClassVar[str] = "variable"
    SECRET: ClassVar[str] = "secret"  # noqa: S105 - the word, not one

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="values")
    name = models.CharField(max_length=128)
    kind = models.CharField(max_length=8, choices=[("variable", "variable"), ("secret", "secret")])
    version = models.PositiveBigIntegerField()
    value = models.TextField(blank=True)
    ciphertext = models.BinaryField(null=True)
    kek_id = models.CharField(max_length=16, blank=True)
    set_by = models.JSONField(default=dict)
    set_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="value_name_unique"),
            models.CheckConstraint(
                condition=Q(kind="variable", ciphertext__isnull=True)
                | Q(kind="secret", ciphertext__isnull=False, value=""),
                name="value_secret_is_ciphertext",
            ),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
