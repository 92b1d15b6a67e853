"""Step 7: the chat in the browser.

Reads, writes    what the pipeline does; nothing of its own
Run              make run        (streamlit run 6_ui/app.py)

The pages are in views/. This file and they only draw: prompts, rules and SQL live elsewhere.
"""

import streamlit as st

from loading import start_loading

st.set_page_config(page_title="MediAssist", page_icon=":material/stethoscope:", layout="centered")
st.navigation(
    [
        st.Page("views/chat.py", title="Chat", icon=":material/chat:", default=True),
        st.Page("views/explain.py", title="Why this urgency", icon=":material/rule:"),
        st.Page("views/safety.py", title="What this is, and its limits", icon=":material/health_and_safety:"),
    ]
).run()
start_loading()  # last: the models load once the page is drawn
