# SPDX-License-Identifier: Apache-2.0
# The server as an image: `docker build -t tetrad .`; deploy/compose.yaml starts it with Prometheus and Grafana.
# tests/package runs these steps.
FROM debian:12-slim AS build
WORKDIR /src
COPY deploy/deps deploy/deps
RUN deploy/deps build deb
COPY . .
RUN make deb

FROM debian:12-slim
COPY --from=build /src/build/tetrad_*.deb /tmp/
# The numbers are known outside: volumes belong to them.
RUN groupadd --system --gid 10001 tetrad && \
    useradd --system --uid 10001 --gid tetrad --home-dir /var/lib/tetrad --no-create-home --shell /usr/sbin/nologin tetrad && \
    apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /tmp/tetrad_*.deb && \
    rm -rf /tmp/tetrad_*.deb /var/lib/apt/lists/* && \
    install -d -o tetrad -g tetrad -m 750 /var/lib/tetrad/tokens
COPY deploy/container /usr/lib/tetrad/container
ENV TETRAD_DB=/var/lib/tetrad/tetrad.db TETRAD_DATA=/var/lib/tetrad/data TETRAD_LISTEN=0.0.0.0:8080
USER 10001:10001
WORKDIR /var/lib/tetrad
VOLUME /var/lib/tetrad
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["tetrad", "health"]
ENTRYPOINT ["/usr/lib/tetrad/container"]
CMD ["serve"]
