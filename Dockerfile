# Ayder on Debian. The binary is built in the first stage, liburing for it too; the second holds little else.
#   docker build -t ayder .
#   docker run -p 1109:1109 -v ayder:/data -e RF_BEARER_TOKENS=... ayder
# Docker's default seccomp profile forbids io_uring: Ayder then writes through a worker thread, and says so in its log.

FROM oven/bun:1.4.5-debian AS build
# For liburing, which is built from Debian's source package.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev make debian-archive-keyring ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The packages first: they change less often than the sources.
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --ignore-scripts --production
COPY tsconfig.json build.ts ./
COPY src ./src
COPY docs ./docs
COPY UPGRADING.md ./
# `--build-arg AYDER_COMMIT=$(git rev-parse --short=12 HEAD)` puts the commit into `ayder version`.
ARG AYDER_COMMIT
RUN bun build.ts && mv dist/ayder-linux-* /usr/local/bin/ayder

FROM debian:trixie-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data ayder \
 && install --directory --owner=ayder --group=ayder --mode=0700 /data
ARG AYDER_COMMIT
LABEL org.opencontainers.image.title="ayder" \
      org.opencontainers.image.description="HTTP-native durable event log" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="$AYDER_COMMIT"
COPY --from=build /usr/local/bin/ayder /usr/local/bin/ayder
USER ayder
# Outside its container nobody reaches 127.0.0.1. Without RF_BEARER_TOKENS the token `dev` is in force: the log warns.
ENV RF_HTTP_ADDR=0.0.0.0 RF_DATA_DIR=/data
VOLUME /data
EXPOSE 1109
# Stops taking connections, finishes what is under way, syncs, and ends with status 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["ayder", "healthcheck"]
ENTRYPOINT ["ayder"]
