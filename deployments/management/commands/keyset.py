"""`manage.py keyset`: the deploy keys that nodes trust."""

from __future__ import annotations

from deployments import signing
from deployments.management.operators import Add, Answer, OperatorCommand, Options, later


class Command(OperatorCommand):
    help = "Deploy keys: init, show; rotate and revoke come later."

    def actions(self, add: Add) -> None:
        add("init", self.init, "make the keys if there are none; safe to call again")
        add("show", self.show, "the keyset that nodes are given")
        add("rotate", later("Rotating the deploy key"), "sign with a new key")
        add("revoke", later("Revoking a deploy key"), "stop trusting a key").add_argument(
            "keyid", nargs="?", metavar="KEYID"
        )

    def init(self, options: Options) -> Answer:
        signing.init()
        return self.show(options)

    def show(self, options: Options) -> Answer:
        body = signing.show()
        return Answer([f"{name}: {value}" for name, value in body.items()], body)
