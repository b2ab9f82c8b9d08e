"""`manage.py provider_account`: the accounts at clouds, what their providers tell of them, and the end of a pause."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from deployments.management.operators import Add, Answer, OperatorCommand, Options, table
from deployments.selectors import provider_accounts as selected
from deployments.services import accounts
from deployments.services.accounts import Checked
from providers.errors import InvalidRequest

_CREDENTIALS_MAX_BYTES = 64 * 1024


class Command(OperatorCommand):
    help = "Accounts at providers: create, list, check."

    def actions(self, add: Add) -> None:
        create = add("create", self.create, "add an account; its credentials are standard input, as a JSON object")
        create.add_argument("name", metavar="NAME")
        create.add_argument("--provider", required=True, metavar="SLUG")
        create.add_argument("--option", action="append", default=[], type=_option, metavar="KEY=VALUE")
        add("list", self.listed, "the accounts")
        check = add("check", self.checked, "rights, quotas, locations and sizes; lifts a pause if it passes")
        check.add_argument("name", nargs="?", metavar="NAME")

    def create(self, options: Options) -> Answer:
        row = accounts.create(
            name=options["name"],
            slug=options["provider"],
            options=dict(options["option"]),
            credentials=_credentials(),
        )
        lines = [
            f"Account {row.name} at {row.slug} is stored; its credentials are sealed.",
            f"Whether they are good, and what can be ordered: manage.py provider_account check {row.name}",
        ]
        return Answer(lines, selected.represent(row))

    def listed(self, options: Options) -> Answer:
        rows = [selected.named(name) for name in accounts.names()]
        lines = table(
            [
                (row["name"], row["provider"], f"paused: {row['paused']['message']}" if row["paused"] else "")
                for row in rows
            ],
            empty="There are no accounts. `provider_account create` adds one.",
        )
        return Answer(lines, {"accounts": rows})

    def checked(self, options: Options) -> Answer:
        names = [options["name"]] if options["name"] else accounts.names()
        checked = [accounts.check(name) for name in names]
        bodies = [_represented(each) for each in checked]
        lines = [line for each in checked for line in _told(each)]
        body = bodies[0] if options["name"] else {"ok": all(each["ok"] for each in bodies), "accounts": bodies}
        return Answer(lines, body, is_done=bool(body["ok"]))


def _option(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def _credentials() -> Mapping[str, str]:
    """Of standard input; nothing of it is ever repeated in an error. Raises InvalidRequest."""
    raw = sys.stdin.buffer.read(_CREDENTIALS_MAX_BYTES + 1)
    try:
        found = json.loads(raw or b"{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise InvalidRequest(
            "The credentials on standard input are no JSON object of texts",
            fields={"credentials": 'such as {"token": "..."}'},
        )
    return found


def _represented(checked: Checked) -> dict[str, Any]:
    findings = [
        {"subject": each.subject, "verdict": str(each.verdict), "detail": each.detail, "cure": each.cure}
        for each in checked.report.findings
    ]
    return {
        "ok": checked.report.passes,
        "account": checked.name,
        "provider": checked.provider,
        "paused": checked.is_paused,
        "findings": findings,
        **selected.represent_catalogue(checked.catalogue),
        "orphans": selected.orphans(checked.name),
    }


def _told(checked: Checked) -> list[str]:
    body = _represented(checked)
    verdict = "passes" if checked.report.passes else "fails"
    paused = "; its pause stays until a check passes" if checked.is_paused else ""
    lines = [f"{checked.name} ({checked.provider}) {verdict}{paused}."]
    lines += [f"  {row}" for row in table([_line(each) for each in body["findings"]], empty="nothing was found")]
    if body["sizes"]:
        lines.append(f"  sizes, with the provider's prices per month without taxes as of {body['as_of']}:")
        rows = [
            (
                size["name"],
                f"{size['cores']} cores",
                f"{size['memory_mb']} MB",
                f"{size['disk_gb']} GB",
                f"{size['monthly_price']} {size['currency']}" if size["monthly_price"] else "price unknown",
                ", ".join(size["locations"]) or "everywhere",
            )
            for size in body["sizes"]
        ]
        lines += [f"    {row}" for row in table(rows, empty="")]
    lines += [
        f"  no row points to {each['kind']} {each['id']}, seen {each['first_seen_at']}" for each in body["orphans"]
    ]
    return lines


def _line(finding: Mapping[str, str]) -> tuple[str, ...]:
    return (
        finding["verdict"],
        finding["subject"],
        " ".join(part for part in (finding["detail"], finding["cure"]) if part),
    )
