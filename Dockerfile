# The gateway as an image: a stage that builds, and one that runs, which executes nothing while it is made.
# pip's configuration is the machine's, if it is told: --secret id=pip.conf,src=/etc/pip.conf
ARG BASE_IMAGE=python:3.14.10-slim-trixie

FROM ${BASE_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN ["python3", "-m", "venv", "/opt/release"]
RUN ["python3", "-m", "venv", "--without-pip", "/opt/memgpt-proxy"]
COPY requirements/release.txt requirements/image.txt requirements/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/release/bin/python -m pip install --require-hashes --only-binary :all: \
    --requirement requirements/release.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/release/bin/python -m pip --python /opt/memgpt-proxy/bin/python install --no-compile \
    --require-hashes --only-binary :all: --requirement requirements/image.txt
COPY pyproject.toml LICENSE README.md ./
COPY memgpt_proxy memgpt_proxy
RUN /opt/release/bin/python -m build --no-isolation --wheel --outdir /opt/wheel \
    && /opt/release/bin/python -m pip --python /opt/memgpt-proxy/bin/python install --no-compile \
    --no-index --no-deps --find-links /opt/wheel memgpt-proxy
# What is inside, from what is installed; then bytecode that looks at no file's time.
RUN /opt/release/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
    --output-reproducible --output-file /opt/memgpt-proxy/sbom.cdx.json /opt/memgpt-proxy/bin/python \
    && /opt/memgpt-proxy/bin/python -m compileall -q -f --invalidation-mode unchecked-hash \
    /opt/memgpt-proxy/lib
RUN ["mkdir", "--parents", "/var/lib/memgpt-proxy"]

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="memgpt-proxy" \
      org.opencontainers.image.description="An OpenAI-compatible gateway that gives any chat-completions model an unbounded memory" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT"
COPY --from=build /opt/memgpt-proxy /opt/memgpt-proxy
COPY --from=build --chown=65532:65532 --chmod=0700 /var/lib/memgpt-proxy /var/lib/memgpt-proxy
ENV PATH=/opt/memgpt-proxy/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/memgpt-proxy \
    MEMGPT_DATA_DIR=/var/lib/memgpt-proxy \
    MEMGPT_HOST=0.0.0.0
USER 65532:65532
WORKDIR /var/lib/memgpt-proxy
VOLUME /var/lib/memgpt-proxy
EXPOSE 8484
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python3", "-m", "memgpt_proxy.health"]
ENTRYPOINT ["memgpt-proxy"]
CMD ["serve"]
