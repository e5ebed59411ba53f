FROM rust:1.95-bookworm AS build
WORKDIR /build
ENV SQLX_OFFLINE=true

# What was built before stays in caches of the builder: a change of the sources builds the sources alone.
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    touch src/lib.rs src/main.rs \
    && cargo build --release --locked --package cerby-reconciler \
    && cp target/release/cerby-reconciler /cerby-reconciler
RUN /cerby-reconciler man /share/man/man1 \
    && mkdir /share/completions \
    && for shell in bash fish zsh; do \
           /cerby-reconciler completions $shell > /share/completions/$shell || exit 1; \
       done

# The C library and the authorities' certificates, no shell. Writes nothing.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="cerby-reconciler" \
      org.opencontainers.image.description="Owns what happens after a membership automation failed"
COPY --from=build /cerby-reconciler /usr/local/bin/cerby-reconciler
COPY --from=build /share /usr/local/share/cerby-reconciler
COPY config/ /etc/cerby-reconciler/config/
WORKDIR /etc/cerby-reconciler
USER 65532:65532
STOPSIGNAL SIGTERM
# An orchestrator sends its probes from outside: /livez and /readyz, which say up or down, and why in a line.
ENV RECONCILER__HTTP__LISTEN=0.0.0.0:8087 RECONCILER__HTTP__EXPOSE_PROBES=true
EXPOSE 8087
HEALTHCHECK --interval=30s --timeout=6s --start-period=60s \
    CMD ["/usr/local/bin/cerby-reconciler", "health"]
ENTRYPOINT ["/usr/local/bin/cerby-reconciler"]
CMD ["serve"]
