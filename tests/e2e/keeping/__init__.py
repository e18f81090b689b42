"""What keeps and removes personal data: forgetting, retention, shredding, the processing log, doctor, deployments."""
