"""Figures from noisy counts: estimates, exact variances, intervals and corrections.

    covariance    variances and covariances that follow from a plan, before anything is measured
    estimates     least-squares estimates, for councils and regions too
    corrected     estimates corrected for missed or false links, and for census rows that were not found
    intervals     published figures with their intervals, modelled rates, and the accuracy to expect beforehand

All of it is post-processing: it reads plans and noisy counts, never a child table, and costs no privacy.
"""
