"""Mail: building a message from a report, and delivering it once."""
