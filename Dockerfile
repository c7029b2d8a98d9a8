# A gateway in a container. It works on the network namespace that it is started in: see compose.yaml.
#
#   docker build -t nat64d . && docker compose up

FROM node:20-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ make python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY scripts scripts
COPY native native
RUN npm ci --ignore-scripts
COPY tsconfig.base.json tsconfig.json ./
COPY config config
COPY src src
RUN node scripts/build.mjs --no-tests
# What a gateway runs with, as npm would install it.
COPY LICENSE README.md CHANGELOG.md ./
COPY docs docs
RUN npm pack --ignore-scripts --pack-destination /tmp \
 && npm install --global --offline --prefix /opt/nat64d /tmp/nat64d-*.tgz

FROM node:20-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 nftables \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/nat64d /opt/nat64d
COPY config/nat64d.toml /etc/nat64d/nat64d.toml
ENV PATH=/opt/nat64d/bin:$PATH
VOLUME /var/lib/nat64d
# The status page and metrics, on the container's own loopback unless the configuration says otherwise.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:6464/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["nat64d"]
CMD ["--config", "/etc/nat64d/nat64d.toml"]
