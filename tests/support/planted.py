"""A planted child, whose identifiers occur in no other data, so that tests can search for leaks."""

from tests.support.extracts import build_row, make_nhs_number, make_upn

SURNAME, FORENAME, POSTCODE = "Zzyzxwick", "Quixolinda", "L99 9ZZ"
UPN, NHS = make_upn(899_999_123_456), str(make_nhs_number(876_544))
IDENTIFIERS = (SURNAME, FORENAME, POSTCODE, UPN, NHS)
CHILD = {"surname": SURNAME, "forename": FORENAME, "sex": "F", "date_of_birth": "2020-02-02", "postcode": POSTCODE}
PROFILE = build_row("eyfsp", CHILD, upn=UPN)
REVIEW = build_row("hv_reviews", CHILD, local_patient_id=f"P-{SURNAME}", nhs_number=NHS)
