"""The installation's own name, which every resource at a provider carries."""

from __future__ import annotations

import secrets

from django.db import models


def _random_name() -> str:
    return secrets.token_hex(8)


class Installation(models.Model):
    """One row. `name` is random and set once; orphans at a provider are recognised by it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    name = models.CharField(max_length=16, default=_random_name)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="installation_only_one")]

    def __str__(self) -> str:
        return self.name
