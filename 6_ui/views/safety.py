"""What the app is for, what it is not, and who may be badly served by it."""

import streamlit as st

st.title("What this is, and its limits", anchor=False)
st.markdown(
    """
MediAssist tells you how urgent something may be, and answers from public health pages that it names.

**It is not a doctor.** It does not examine you, it can miss things, and it does not replace care. It is not a cleared medical device.
No clinician has reviewed its rules or its documents yet. The authors checked them against the public pages that they name.

**In an emergency, do not wait for this app.** Call your local emergency number.

**How the urgency is decided.** By written rules, each with a public source, that you can read: see the page "Why this urgency". No language model decides it, and none can
lower it. HIGH means emergency care now. MEDIUM means a health professional within days, or sooner where the advice says so. LOW means
self-care, with the signs that would change that.

**Who it may serve badly.** It reads English, and danger signs in Spanish and romanised Hindi. Very unusual illnesses, messages that leave out the key fact, and children who write alone
are where it is weakest. It never gives the dose of a medicine: ask a pharmacist.

**What is kept.** The messages of a conversation, its urgency, its sources and its answers are kept in a file on the computer that runs this
app. Whoever has the address of a conversation can read it.
"""
)
