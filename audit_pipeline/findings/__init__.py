"""What a team has to decide: detections grouped into findings, and the log of decisions about them."""
