"""How far apart two clocks may be."""

from app.doctor.findings import Finding, failed, ok, warning

WARNED_SECONDS = 2.0
REFUSED_SECONDS = 30.0
"""Of the same order as leases and time limits, which are by PostgreSQL's clock."""


def skew(check: str, whose: str, seconds: float) -> Finding:
    """`seconds` is theirs less ours."""
    way = "ahead of" if seconds > 0 else "behind"
    found = f"{whose}'s is {abs(seconds):.1f} s {way} this machine's"
    change = "Have both machines follow the same time (chrony, systemd-timesyncd)."
    if abs(seconds) > REFUSED_SECONDS:
        return failed(check, found, change)
    if abs(seconds) > WARNED_SECONDS:
        return warning(check, found, change)
    return ok(check, found)
