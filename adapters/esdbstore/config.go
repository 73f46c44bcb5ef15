package esdbstore

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// maxMessage is the longest message that is taken from the database.
const maxMessage = 17 << 20

// target is what a connection string says.
type target struct {
	seeds   []string // addresses to begin with
	cluster bool     // the nodes tell each other's addresses
	dial    []grpc.DialOption
}

// parse reads a connection string as EventStoreDB's own clients do.
func parse(connection string) (*target, error) {
	if rest, ok := strings.CutPrefix(connection, "kurrentdb"); ok { // a newer name of the same protocol
		connection = "esdb" + rest
	}
	config, err := esdb.ParseConnectionString(connection)
	if err == nil {
		err = config.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("event store connection string: %w", withoutAddress(err))
	}
	t := &target{cluster: config.DnsDiscover || len(config.GossipSeeds) > 0}
	for _, seed := range config.GossipSeeds {
		t.seeds = append(t.seeds, seed.String())
	}
	if len(t.seeds) == 0 {
		t.seeds = []string{config.Address}
	}
	t.dial = []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		// A node that comes back is tried soon: gRPC's own backoff grows to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
	}
	if config.KeepAliveInterval >= 0 {
		t.dial = append(t.dial, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: config.KeepAliveInterval, Timeout: config.KeepAliveTimeout, PermitWithoutStream: true,
		}))
	}
	if config.DisableTLS {
		t.dial = append(t.dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
		return t, nil // a password never goes over a connection that others can read
	}
	secure := &tls.Config{InsecureSkipVerify: config.SkipCertificateVerification, RootCAs: config.RootCAs}
	if config.UserCertFile != "" {
		certificate, err := tls.LoadX509KeyPair(config.UserCertFile, config.UserKeyFile)
		if err != nil {
			return nil, fmt.Errorf("event store connection string: user certificate: %w", err)
		}
		secure.Certificates = []tls.Certificate{certificate}
	}
	t.dial = append(t.dial, grpc.WithTransportCredentials(credentials.NewTLS(secure)))
	if config.Username != "" && config.Password != "" {
		t.dial = append(t.dial, grpc.WithPerRPCCredentials(basicAuth("Basic "+base64.StdEncoding.EncodeToString([]byte(config.Username+":"+config.Password)))))
	}
	return t, nil
}

// withoutAddress is the cause of an error of the URL parser, which itself names the whole connection string with its
// password.
func withoutAddress(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// basicAuth sends a user's name and password with every call.
type basicAuth string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b basicAuth) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (basicAuth) RequireTransportSecurity() bool { return true }
