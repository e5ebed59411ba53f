FROM rust:1.95-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true

# Dependencies in a layer of their own: it changes with the manifests only. Named targets, whose
# files are not there yet, are left out of the manifest.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[/,/^$/d' Cargo.toml \
    && mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --no-default-features

# The stand-ins are newer than the sources may be.
COPY . .
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --no-default-features

# The C library and the authorities' certificates, no shell. Writes nothing.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="cerby-reconciler" \
      org.opencontainers.image.description="Owns what happens after a membership automation failed"
COPY --from=build /build/target/release/cerby-reconciler /usr/local/bin/cerby-reconciler
COPY config/ /etc/cerby-reconciler/config/
WORKDIR /etc/cerby-reconciler
USER 65532:65532
STOPSIGNAL SIGTERM
# Liveness and readiness are HTTP probes of the orchestrator.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/local/bin/cerby-reconciler"]
CMD ["serve"]
