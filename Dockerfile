# The explorer for a processor:  docker build --tag maskdistill .
# For a GPU of NVIDIA:           docker build --tag maskdistill --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# pydensecrf2 is compiled. Its compiler stays in this stage; which of Debian's versions it is does not matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/maskdistill
ENV PATH=/opt/maskdistill/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Which versions are allowed, pyproject.toml says, and the next pip sees to it.
# hadolint ignore=DL3013
RUN pip install torch torchvision --index-url "$TORCH_INDEX"
COPY pyproject.toml README.md LICENSE /source/
COPY maskdistill /source/maskdistill
COPY app /source/app
COPY pages /source/pages
COPY assets/icon.png /source/assets/icon.png
RUN pip install "/source[crf,heic,auth]"

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 1000 --create-home explorer && install --directory --owner explorer /photos /runs
COPY --from=build /opt/maskdistill /opt/maskdistill
# Downloaded weights are kept beside the runs.
ENV PATH=/opt/maskdistill/bin:$PATH HF_HOME=/runs/.weights MASKDISTILL_RUNS=/runs
USER 1000
WORKDIR /runs
VOLUME ["/photos", "/runs"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["maskdistill"]
CMD ["app", "--address", "0.0.0.0", "--runs", "/runs", "--roots", "/photos"]
