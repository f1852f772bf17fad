# The gateway as an image: two stages, the locked packages, no shell at run time.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
RUN python3 -m venv /opt/memgpt-proxy
COPY requirements/runtime.txt requirements/runtime.txt
RUN /opt/memgpt-proxy/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: --requirement requirements/runtime.txt
COPY pyproject.toml LICENSE README.md ./
COPY memgpt_proxy memgpt_proxy
RUN /opt/memgpt-proxy/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --no-build-isolation .

FROM ${BASE_IMAGE}
COPY --from=build /opt/memgpt-proxy /opt/memgpt-proxy
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin memgpt \
    && install --directory --owner=memgpt --group=memgpt --mode=0700 /data
ENV PATH=/opt/memgpt-proxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MEMGPT_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8484
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as request; request.urlopen('http://127.0.0.1:' + os.environ.get('MEMGPT_PORT', '8484') + '/healthz', timeout=4)"]
ENTRYPOINT ["memgpt-proxy"]
CMD ["serve", "--host", "0.0.0.0"]
