"""The synthetic company of the demo: who works there, what they do in AWS, and the CloudTrail files that tell of it."""
