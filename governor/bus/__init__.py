"""The only D-Bus client."""
