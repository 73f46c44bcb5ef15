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
ENV ROLLCALL_LISTEN=0.0.0.0:7700 ROLLCALL_DATA=/data ROLLCALL_ACCESS=on
ENTRYPOINT ["/rollcall"]
CMD ["serve"]
