FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /rollcall ./cmd/rollcall && mkdir /data

FROM scratch
COPY --from=build /rollcall /rollcall
COPY --from=build --chown=65532:65532 /data /data
USER 65532
VOLUME /data
EXPOSE 7700
# Callers need a token; the first is made with: docker exec CONTAINER /rollcall token create root --role admin
# With TLS: mount a certificate and its key, and set ROLLCALL_TLS_CERT and ROLLCALL_TLS_KEY (docs/recipes/single/compose.yaml).
ENV ROLLCALL_LISTEN=0.0.0.0:7700 ROLLCALL_DATA=/data ROLLCALL_ACCESS=on
# Through the socket in the data folder, so that it needs no token and no certificate.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/rollcall", "role", "list"]
ENTRYPOINT ["/rollcall"]
CMD ["serve"]
