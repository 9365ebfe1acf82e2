"""The explorer: Streamlit pages over the library `maskdistill`."""
