"""governor: keeps every container on a systemd host within its policy, and gives back what nobody needs."""

__version__ = "0.1.0"
