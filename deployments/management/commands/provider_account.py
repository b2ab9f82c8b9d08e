"""`manage.py provider_account`: the accounts at clouds. Not built yet: this version deploys to the local machine."""

from __future__ import annotations

from deployments.management.operators import Add, OperatorCommand, later


class Command(OperatorCommand):
    help = "Accounts at providers (comes later; the account `local` is always there)."

    def actions(self, add: Add) -> None:
        create = add("create", later("Making provider accounts"), "add an account; its credentials are standard input")
        create.add_argument("name", metavar="NAME")
        create.add_argument("--provider", required=True, metavar="SLUG")
        create.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
        add("list", later("Listing provider accounts"), "the accounts")
        add("check", later("Checking provider accounts"), "rights, quotas and locations").add_argument(
            "name", nargs="?", metavar="NAME"
        )
