# knet and every node of the graph on Kubeflow, with the current stack on Debian 13; see docs/kubeflow.md.
#
#   docker build --tag breakhis-knet .                            # for CPUs
#   docker build --tag breakhis-knet:cuda --build-arg DEVICE=cuda .

FROM debian:13-slim AS base
# The lock files pin Python's packages; of Debian's own, the newest repairs are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*


FROM base AS build
# As above.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
WORKDIR /build
COPY requirements/uv.lock requirements/current.lock requirements/current-cuda.lock requirements/
RUN pip install --no-cache-dir --require-hashes --target /opt/uv --requirement requirements/uv.lock
ENV PATH=/opt/uv/bin:$PATH UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_PYTHON=/opt/knet/bin/python
ARG DEVICE=cpu
# Without bytecode, every start would compile, and keep nothing where the root file system is read-only.
RUN case "$DEVICE" in \
        cpu) lock=current ;; \
        cuda) lock=current-cuda ;; \
        *) echo "DEVICE is cpu or cuda, not $DEVICE" >&2; exit 1 ;; \
    esac \
    && uv venv --python /usr/bin/python3 /opt/knet \
    && uv pip sync --require-hashes --build-constraints requirements/current.lock --compile-bytecode \
        "requirements/$lock.lock"
COPY pyproject.toml setup.py README.md LICENSE ./
COPY knet knet
COPY components components
COPY pipeline pipeline
COPY schemas schemas
RUN uv pip install --no-deps --no-build-isolation --compile-bytecode . ./pipeline


FROM base
ARG REVISION=""
LABEL org.opencontainers.image.title="breakhis-knet" \
      org.opencontainers.image.description="A pipeline for breast histopathology: TFX, CNN+LSTM candidates. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="debian:13-slim" \
      org.opencontainers.image.revision="$REVISION"
RUN groupadd --gid 10001 knet && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp knet
COPY --from=build /opt/knet /opt/knet
COPY schemas/*.pbtxt /app/schemas/
# /tmp alone must be writable; HOME lies there for what Keras and Matplotlib keep.
ENV PATH=/opt/knet/bin:$PATH \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TF_USE_LEGACY_KERAS=0 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    KNET_COMMIT=$REVISION
# For a volume: relative paths of a configuration, such as its output, lie here.
WORKDIR /work
USER 10001:10001
# The installation is whole and starts. Kubernetes has probes of its own, and asks a server itself.
HEALTHCHECK --interval=1m --timeout=30s CMD ["knet", "--version"]
CMD ["knet", "--help"]
