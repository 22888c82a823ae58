"""What several tests need: CloudTrail files, a configured folder, the command line as a child process, a mail server on loopback."""
