# The images to build in and to run in. A release gives both with their digests: see docs/deploy.md.
ARG BUILD_BASE=docker.io/library/rust:1.95-bookworm
ARG RUN_BASE=gcr.io/distroless/cc-debian12:nonroot

# hadolint ignore=DL3006
FROM ${BUILD_BASE} AS build
# The program tells a scanner what it was built from.
RUN cargo install --quiet --locked --version 0.7.7 cargo-auditable
WORKDIR /build
# No symbols, and no paths of the machine that builds.
ENV SQLX_OFFLINE=true \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=cargo --remap-path-prefix=/build=cerby-reconciler"
COPY . .
# What was built before stays in caches of the builder: a change of the sources builds the sources alone.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    touch src/lib.rs src/main.rs \
    && cargo auditable build --release --locked --package cerby-reconciler \
    && cp target/release/cerby-reconciler /cerby-reconciler
RUN /cerby-reconciler man /share/man/man1 \
    && mkdir /share/completions \
    && for shell in bash fish zsh; do \
           /cerby-reconciler completions $shell > /share/completions/$shell || exit 1; \
       done

FROM build AS build-simulator
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    touch testkit/src/lib.rs testkit/src/main.rs \
    && cargo build --release --locked --package testkit \
    && cp target/release/testkit /testkit

# The simulated backend of deploy/compose.yaml. It is built on demand, by its name, and is no part of the image below.
# hadolint ignore=DL3006
FROM ${RUN_BASE} AS simulator
COPY --from=build-simulator /testkit /usr/local/bin/testkit
USER 65532:65532
EXPOSE 8090
ENTRYPOINT ["/usr/local/bin/testkit", "simulate", "--listen", "0.0.0.0:8090"]

# The C library and the authorities' certificates, no shell. Writes nothing.
# hadolint ignore=DL3006
FROM ${RUN_BASE}
ARG RUN_BASE
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cerby-reconciler" \
      org.opencontainers.image.description="Owns what happens after a membership automation failed" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${RUN_BASE}"
COPY --from=build /cerby-reconciler /usr/local/bin/cerby-reconciler
COPY --from=build /share /usr/local/share/cerby-reconciler
COPY config/ /etc/cerby-reconciler/config/
WORKDIR /etc/cerby-reconciler
USER 65532:65532
STOPSIGNAL SIGTERM
# An orchestrator sends its probes from outside: /livez and /readyz, which say up or down, and why in a line. A monitoring
# system asks for /metrics.
ENV RECONCILER__HTTP__LISTEN=0.0.0.0:8087 RECONCILER__HTTP__EXPOSE_PROBES=true
EXPOSE 8087
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s \
    CMD ["/usr/local/bin/cerby-reconciler", "health"]
ENTRYPOINT ["/usr/local/bin/cerby-reconciler"]
CMD ["serve"]
