"""Random sequences of orders and faults, on each stand-in: nothing twice, nothing lost, nothing foreign touched."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from providers.testing.harnesses import HetznerHarness, ScalewayHarness
from providers.testing.machine import CloudMachine


class HetznerMachine(CloudMachine):
    harness_class = HetznerHarness
    own_faults = (
        ("action_error", "start_server", {}),
        ("action_error", "attach_volume", {"message": "server is locked"}),
        ("action_error", "attach_volume", {"message": "server is locked", "done": True}),
        ("action_forgotten", "create_volume", {}),
        ("action_forgotten", "start_server", {}),
        ("lost", "create_ssh_key", {}),
        ("reset", "get_action", {}),
        ("truncated", "list_volume_actions", {}),
    )


class ScalewayMachine(CloudMachine):
    harness_class = ScalewayHarness
    own_faults = (
        ("lost", "set_user_data", {}),
        ("reset", "poweron", {}),
        ("lost", "poweron", {}),
        ("boot_fails", "poweron", {}),
        ("volume_error", "create_volume", {}),
        ("slow", "detach_volume", {"polls": 15}),
        ("empty_429", "get_volume", {}),
        ("empty_429", "set_user_data", {}),
        ("lost", "delete_server", {}),
    )


_SETTINGS = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHetznerMachine = HetznerMachine.TestCase
TestHetznerMachine.settings = _SETTINGS
TestScalewayMachine = ScalewayMachine.TestCase
TestScalewayMachine.settings = _SETTINGS
