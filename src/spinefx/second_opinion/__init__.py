"""Second opinions: calibrated probability, evidence and refusals for one marked vertebra; answers for many studies."""
