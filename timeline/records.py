"""What every admin list here has: rows that are read and searched, never edited, and a first filter that asks a
question."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest


class RecordAdmin(admin.ModelAdmin):
    """Nothing is added, changed or deleted here; what changes rows are actions, which call services."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Who may run the actions of this list: those whom Django's own permissions let change its rows."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")


class Question(admin.SimpleListFilter):
    """A filter that is set from the start: the list answers a question, and `all` shows the rest.

    Subclasses give `answers`: value -> (words, queryset to queryset). The first is the default.
    """

    answers: ClassVar[dict[str, tuple[str, Any]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self.answers.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return self.answers[self.chosen()][1](queryset)

    def chosen(self) -> str:
        value = self.value()
        return value if value is not None and value in self.answers else next(iter(self.answers))

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for value, words in self.lookup_choices:
            yield {
                "selected": value == self.chosen(),
                "query_string": changelist.get_query_string({str(self.parameter_name): value}),
                "display": words,
            }


def everything(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows
