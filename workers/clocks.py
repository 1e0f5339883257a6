"""The clock under its earlier name; modules move to `ledger.clock` one by one."""

from ledger.clock import SYSTEM_CLOCK, Clock

__all__ = ["Clock", "utc_now"]

utc_now = SYSTEM_CLOCK
