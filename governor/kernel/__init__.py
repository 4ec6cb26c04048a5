"""The only place that opens /sys and /proc: typed counters and limits out."""
