# Two images: `marketplace`, which is the default, and `connector`. docs/operating.md says how to build and run them.
# The tag names the version for people. The digest selects the image, for amd64 and arm64.
ARG PYTHON=python:3.14-slim-trixie@sha256:51dafde81dbdb6ebde285137a295cf18a47ca95234fe388a343719cb97305b3d

# Every package is checked by its hash. Installers and build tools stay in this stage.
FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt \
 && python3 -m venv --without-pip /opt/kalathi \
 && /opt/build/bin/pip --python /opt/kalathi/bin/python3 install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY docs docs
COPY src src
ARG COMMIT=
RUN if [ -n "$COMMIT" ]; then echo "$COMMIT" > src/kalathi/commit.txt; fi \
 && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/kalathi/bin/python3 install --no-cache-dir --no-deps dist/*.whl

FROM ${PYTHON} AS base
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kalathi kalathi \
 && rm -rf /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/pip* /usr/local/lib/python3.*/ensurepip
COPY --from=build /opt/kalathi /opt/kalathi
# The code is compiled already, and the root file system may be read-only.
ENV PATH=/opt/kalathi/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/kalathi
VOLUME /var/lib/kalathi
ENTRYPOINT ["kalathi"]
ARG VERSION=0 COMMIT= CREATED=
LABEL org.opencontainers.image.title="Kalathi" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}"

# A shop's connector, with `lp` and `cancel` for a queue of CUPS (CUPS_SERVER names its host).
FROM base AS connector
LABEL org.opencontainers.image.description="The connector of a shop: answers orders and prints vouchers."
RUN apt-get update && apt-get install --yes --no-install-recommends cups-client && rm -rf /var/lib/apt/lists/*
ENV KALATHI_MERCHANT_DATA=/var/lib/kalathi/connector KALATHI_PRINT_TO=/var/lib/kalathi/vouchers \
    KALATHI_MERCHANT_HOST=0.0.0.0 KALATHI_MERCHANT_PORT=9321 KALATHI_MERCHANT_WATCH_PORT=9322
USER kalathi
EXPOSE 9321 9322
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=250ms \
  CMD ["python3", "-m", "kalathi.healthy", "KALATHI_MERCHANT_WATCH_PORT"]
CMD ["merchant"]

FROM base AS marketplace
LABEL org.opencontainers.image.description="A marketplace: orders, returns, warehouse, webhooks, vouchers, a sandbox."
ENV KALATHI_DATA=/var/lib/kalathi KALATHI_HOST=0.0.0.0 KALATHI_PORT=8090
USER kalathi
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=250ms \
  CMD ["python3", "-m", "kalathi.healthy", "KALATHI_PORT"]
CMD ["serve"]
