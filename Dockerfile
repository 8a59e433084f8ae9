# syntax=docker/dockerfile:1
# Two images from one file: --target server speaks to clients and holds no image codec, --target worker converts and listens to nobody.

FROM rust:1.95-slim-bookworm AS source
WORKDIR /tintype
COPY . .

FROM source AS build-server
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/tintype/target,sharing=locked \
    cargo build --release --locked --package tintype-server --no-default-features \
    && install target/release/tintype-server /usr/local/bin/

FROM source AS build-worker
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/tintype/target,sharing=locked \
    cargo build --release --locked --package tintype-worker --features avif \
    && install target/release/tintype-worker /usr/local/bin/

FROM debian:12-slim AS runtime
# The certificates that TLS connections to PostgreSQL and NATS are checked against.
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A volume mounted on an empty folder takes over its owner.
RUN install --directory --owner 10001 --group 10001 /var/lib/tintype /var/lib/tintype/blobs
USER 10001:10001
WORKDIR /var/lib/tintype
ENV TINTYPE_DATA=/var/lib/tintype

FROM runtime AS server
COPY --from=build-server /usr/local/bin/tintype-server /usr/local/bin/
EXPOSE 50051 7771
ENTRYPOINT ["tintype-server"]

FROM runtime AS worker
COPY --from=build-worker /usr/local/bin/tintype-worker /usr/local/bin/
ENTRYPOINT ["tintype-worker"]
