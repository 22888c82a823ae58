"""What goes wrong, as a user meets it: broken configuration, rights, full disks, kills, failing sources, hostile text."""
