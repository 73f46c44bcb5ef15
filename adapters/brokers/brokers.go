// Package brokers publishes events to message brokers, through watermill's own publishers and Router:
// at least once and in the order of positions, in the JSON form of CloudEvents 1.0.
package brokers

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	natsgo "github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/rollcall-registry/rollcall/domain"
)

// Target is a broker, with the events that go to the broker.
type Target struct {
	URL   string // scheme, host and path as configured
	Topic string // of the broker: NATS subject, Redis stream
	Query string // parameters of a stream topic, which pick the events
	kind  string
	host  string
	user  *url.Userinfo
}

// Parse reads a target:
//
//	nats://host:4222/subject?type=…&ns=…&service=…
//	redis://host:6379/stream?…
func Parse(s string) (t Target, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "redis" {
		return t, domain.InvalidField{Field: "publish", Rule: "must be nats://host:port/subject or redis://host:port/stream"}
	}
	topic := strings.Trim(u.Path, "/")
	if topic == "" || strings.ContainsAny(topic, " \t\r\n*>") {
		return t, domain.InvalidField{Field: "publish", Rule: "must name a subject or stream after the host"}
	}
	return Target{URL: u.Scheme + "://" + u.Host + "/" + topic, Topic: topic, Query: u.RawQuery, kind: u.Scheme, host: u.Host, user: u.User}, nil
}

// Events is the stream topic whose events go to the target.
func (t Target) Events() string {
	if t.Query == "" {
		return "events"
	}
	return "events?" + t.Query
}

func (t Target) publisher(logger watermill.LoggerAdapter) (message.Publisher, error) {
	if t.kind == "redis" {
		opts := &redis.Options{Addr: t.host}
		if t.user != nil {
			opts.Username = t.user.Username()
			opts.Password, _ = t.user.Password()
		}
		return redisstream.NewPublisher(redisstream.PublisherConfig{Client: redis.NewClient(opts)}, logger)
	}
	options := []natsgo.Option{natsgo.Name("rollcall"), natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(250 * time.Millisecond)}
	if t.user != nil {
		password, _ := t.user.Password()
		options = append(options, natsgo.UserInfo(t.user.Username(), password))
	}
	return nats.NewPublisher(nats.PublisherConfig{
		URL: "nats://" + t.host, NatsOptions: options, Marshaler: &nats.NATSMarshaler{},
		// The broker drops an event whose id it has seen lately, so that a repeated event is stored once.
		JetStream: nats.JetStreamConfig{AutoProvision: true, TrackMsgId: true, ConnectOptions: []natsgo.JSOpt{natsgo.MaxWait(natsTimeout)}},
	}, logger)
}

// natsTimeout is how long NATS may take for an answer. One attempt waits for two answers, and a registry that stops waits for
// the attempt.
const natsTimeout = 2 * time.Second

// Observer gets the deliveries to one broker.
type Observer interface {
	Waiting(recorded time.Time) // an event of that time is to be published
	Attempted(result string)    // an attempt was made: delivered or failed
}

// routerLevels are the levels at which the lines of watermill's router are logged. The usual lines are for debugging only,
// and a failed delivery is tried again.
var routerLevels = map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug, slog.LevelError: slog.LevelWarn}

// redisLog writes the Redis client's own lines to the log.
type redisLog struct{ *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.DebugContext(ctx, "redis client", "line", fmt.Sprintf(format, v...))
}

// Run publishes the events of the subscriber until the context ends. While the broker does not answer, Run tries again with
// growing pauses. No event is left out.
func Run(ctx context.Context, t Target, sub message.Subscriber, observer Observer, logger *slog.Logger) error {
	logger = logger.With("broker", t.URL)
	log := watermill.NewSlogLoggerWithLevelMapping(logger, routerLevels)
	if t.kind == "redis" {
		redis.SetLogger(redisLog{logger}) // the Redis client has one logger for the whole process
	}
	var pub message.Publisher
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		var err error
		if pub, err = t.publisher(log); err == nil {
			break
		}
		logger.Warn("broker cannot be reached; it is tried again with growing pauses", "cause", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, log)
	if err != nil {
		return err
	}
	handler := router.AddConsumerHandler("broker", t.Events(), sub, (&publishing{t.Topic, pub, observer, logger, 0}).publish)
	handler.AddMiddleware(middleware.Retry{
		MaxRetries: 1 << 30, InitialInterval: 250 * time.Millisecond, MaxInterval: 30 * time.Second, Multiplier: 2, RandomizationFactor: 0.2,
		ShouldRetry: func(middleware.RetryParams) bool { return ctx.Err() == nil },
	}.Middleware, middleware.Recoverer)
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("broker %s: %w", t.URL, err)
	}
	return pub.Close()
}

// publishing publishes to one broker.
type publishing struct {
	topic    string
	to       message.Publisher
	observer Observer
	logger   *slog.Logger
	failed   int // failed attempts in a row
}

func (p *publishing) publish(m *message.Message) error {
	if p.failed == 0 {
		if recorded, err := time.Parse(time.RFC3339Nano, m.Metadata.Get("recorded_at")); err == nil {
			p.observer.Waiting(recorded)
		}
	}
	err := p.to.Publish(p.topic, m)
	if err == nil {
		if p.failed > 0 {
			p.logger.Info("broker takes events again", "failed_attempts", p.failed)
		}
		p.failed = 0
		p.observer.Attempted("delivered")
		return nil
	}
	p.observer.Attempted("failed")
	p.failed++
	if p.failed&(p.failed-1) == 0 { // the first, second, fourth, eighth … failure is logged
		p.logger.Warn("broker does not take an event; it is tried again with growing pauses", "attempt", p.failed, "cause", err)
	}
	return err
}
