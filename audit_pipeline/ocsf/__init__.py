"""The one registry of event columns and OCSF classes: Parquet schema, export, docs and checks come from it."""
