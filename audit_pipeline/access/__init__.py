"""Who can read, change or delete logs at their source, or stop logging: snapshots, held against what was approved."""
