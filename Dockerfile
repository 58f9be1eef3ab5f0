# A marketplace in an image: the pinned packages, checked by their hashes, and nothing that builds.
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN python -m venv /opt/kalathi \
 && /opt/kalathi/bin/pip install --no-cache-dir --require-hashes -r requirements.txt \
 && /opt/kalathi/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/kalathi kalathi
COPY --from=build /opt/kalathi /opt/kalathi
ENV PATH=/opt/kalathi/bin:$PATH KALATHI_DATA=/var/lib/kalathi KALATHI_HOST=0.0.0.0
USER kalathi
WORKDIR /var/lib/kalathi
VOLUME /var/lib/kalathi
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=3s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8090/healthz', timeout=2)"
ENTRYPOINT ["kalathi"]
CMD ["serve"]
