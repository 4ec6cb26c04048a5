"""What all controllers together come to: pure, so that a recording can be replayed through it."""
