"""Unit and cgroup path become a container; one file a runtime."""
