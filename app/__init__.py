"""The app: Streamlit pages over the library ``maskdistill``; a folder for each page beside the modules that they share.

Read ``main`` (what runs on each rerun), ``selection`` (the link), ``run_view`` (a run, read), then the page you want.
"""
