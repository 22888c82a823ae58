"""What somebody did today that they do not usually do: features, baselines, isolation forests, thresholds, explanations, verdicts.

Belongs here: the table `anomalies` and what it is made of. Not here: rules (`detections`), what people decide (`findings`).
"""
