"""The lake: raw evidence, Parquet tables, views and the integrity chain. Imports nothing of ours but `ocsf`, `settings`, `clock`, `errors`."""
