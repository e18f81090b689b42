"""Figures from noisy counts: estimates, exact variances, intervals and corrections.

    covariance    variances and covariances that a plan leads to; known before anything is measured
    estimates     least-squares estimates, councils and regions too
    corrected     estimates corrected for links that are missed or false, and for census rows that were not found
    intervals     what a reader sees of them, and may expect beforehand
    hierarchical  rates as a model sees them, labelled as such

All of it is post-processing: it reads plans and noisy counts, never a child table, and costs no privacy.
"""
