"""Hosts of the public bodies whose pages clinical content may rest on."""

PUBLIC_BODIES = (
    "nhs.uk", "nhsinform.scot", "hse.ie", "nice.org.uk", "cdc.gov", "nih.gov", "medlineplus.gov", "who.int", "aap.org", "healthychildren.org", "acog.org", "heart.org", "stroke.org", "fda.gov",
    "poison.org", "epa.gov", "gov.uk", "nidirect.gov.uk", "samhsa.gov", "nhs.wales", "weather.gov", "aan.com", "cancer.gov", "hhs.gov", "womenshealth.gov", "988lifeline.org", "usda.gov", "cpsc.gov",
    "nhs.scot",
)  # fmt: skip
