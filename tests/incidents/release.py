"""What campaign and wrong release agree on."""

from datetime import date

FAULT = "INCIDENT_FAULT"
"""Names a file that says what is wrong with report.daily: raise, leak, or kill of the day POISON alone."""
POISON = date(2001, 1, 1)
