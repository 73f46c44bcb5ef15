package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/brokers"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
	"github.com/rollcall-registry/rollcall/adapters/raftstore"
	"github.com/rollcall-registry/rollcall/adapters/stream"
	"github.com/rollcall-registry/rollcall/adapters/webhooks"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	webhookList "github.com/rollcall-registry/rollcall/projections/webhooks"
	"github.com/rollcall-registry/rollcall/queries"
)

// deliveries is all that carries events out: webhooks and brokers.
type deliveries struct {
	list        *webhookList.List
	commands    *commands.Webhooks
	secrets     *webhooks.Secrets
	log         *webhooks.Log
	positions   *webhooks.Positions // of a registry without a cluster
	checkpoints *stream.Checkpoints // likewise
	cluster     *raftstore.Store    // nil: the node is in no cluster
	targets     []brokers.Target
	observed    *metrics.Deliveries
	store       eventstore.Store
	storeID     uuid.UUID
	allow       bool
	pauseAfter  time.Duration
	logger      *slog.Logger

	mu        sync.Mutex // held while deliverer changes, and while a webhook's change is passed on
	deliverer *webhooks.Deliverer
}

// deliverer is on whose behalf a failing webhook is paused.
var deliverer = commands.Caller{Actor: "rollcall", Via: domain.ViaWebhooks}

// brokers are the brokers to which events are published, or why a setting names none.
func (s *settings) brokers() (targets []brokers.Target, err error) {
	for _, url := range s.publish {
		t, err := brokers.Parse(url)
		if err == nil {
			_, err = stream.ParseTopic(t.Events())
		}
		if err != nil {
			return nil, usageError{err}
		}
		targets = append(targets, t)
	}
	return targets, nil
}

func openDeliveries(ctx context.Context, s settings, store *backend, observed *metrics.Deliveries, logger *slog.Logger) (*deliveries, error) {
	d := &deliveries{
		observed: observed, store: store, storeID: store.id, cluster: store.cluster, allow: s.webhookAllowPrivate, pauseAfter: s.webhookPauseAfter, logger: logger,
	}
	var err error
	if d.targets, err = s.brokers(); err != nil {
		return nil, err
	}
	if d.list, err = webhookList.Open(ctx, store); err != nil {
		return nil, err
	}
	if d.cluster != nil {
		notes, err := leading{store: d.cluster}.Notes(ctx, noteOfKey)
		if err == nil {
			err = takeKey(s.data, notes[noteOfKey])
		}
		if err != nil {
			return nil, err
		}
	}
	load := func() (*webhooks.Secrets, error) { return webhooks.LoadSecrets(keyFile(s.data)) }
	if d.secrets, err = loadKey(load, func() error { return sealedSecrets(ctx, store, d.list) }, logger); err != nil {
		return nil, err
	}
	if d.log, err = webhooks.OpenLog(filepath.Join(s.data, "deliveries"), logger); err != nil {
		return nil, err
	}
	d.commands = &commands.Webhooks{Store: store, WaitFor: d.list.WaitFor}
	if d.cluster != nil {
		return d, nil
	}
	if d.checkpoints, err = stream.OpenCheckpoints(consumersFolder(s.data)); err != nil {
		return nil, err
	}
	d.positions, err = webhooks.OpenPositions(positionsFile(s.data), d.checkpoints, logger)
	return d, err
}

// subscribe makes the subscriber of one broker: what is published is the event in the JSON form of CloudEvents.
func (d *deliveries) subscribe(consumer string, checkpoints *stream.Checkpoints, selection queries.Selection) (message.Subscriber, error) {
	return stream.NewSubscriber(stream.Config{
		Source: d.store, Consumer: consumer, Checkpoints: checkpoints, Grace: webhooks.DefaultGrace, Message: webhooks.NewMessage(d.storeID.String()),
		Select: func(string) (stream.Selection, error) { return selection, nil }, Logger: watermill.NewSlogLoggerWithLevelMapping(d.logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug}),
	})
}

// run delivers until stopping ends, and knows the webhooks until ctx ends: commands about webhooks wait for that. Attempts
// under way end while the server still answers its last requests.
func (d *deliveries) run(ctx, stopping context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	delivering, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(stopping, end)()
	group.Go(func() error { return d.list.Run(ctx, d.store, d.logger, d.changed) })
	if d.cluster != nil {
		group.Go(func() error { return d.deliverAsLeader(delivering) })
	} else {
		group.Go(func() error { return d.deliver(delivering, d.positions, d.checkpoints) })
	}
	return group.Wait()
}

// changed passes a webhook that has changed on to who delivers.
func (d *deliveries) changed(w domain.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deliverer != nil {
		d.deliverer.Changed(w)
	}
}

// deliver delivers until the context ends.
func (d *deliveries) deliver(ctx context.Context, positions *webhooks.Positions, checkpoints *stream.Checkpoints) error {
	one := webhooks.New(webhooks.Options{
		Store: d.store, Positions: positions, Secrets: d.secrets, Log: d.log, StoreID: d.storeID.String(), Allow: d.allow, PauseAfter: d.pauseAfter,
		Pause: func(ctx context.Context, id, reason string) error {
			return d.commands.Do(ctx, deliverer, id, domain.PauseWebhook{Reason: reason})
		},
		Observe: func(id string) webhooks.Observer { return d.observed.Target("webhook", id) }, Now: time.Now, Logger: d.logger,
	})
	d.mu.Lock()
	d.deliverer = one
	for _, w := range d.list.All() { // so that the follower finds them
		one.Changed(w)
	}
	d.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return one.Run(ctx) })
	for _, t := range d.targets {
		group.Go(func() error {
			selection, err := stream.ParseTopic(t.Events())
			if err != nil {
				return err
			}
			sub, err := d.subscribe(consumerOf(t), checkpoints, selection)
			if err != nil {
				return err
			}
			observed := d.observed.Target("broker", t.URL)
			defer observed.End()
			return errors.Join(brokers.Run(ctx, t, sub, observed, d.logger), sub.Close())
		})
	}
	return group.Wait()
}

// consumerOf is the name under which is kept how far a broker is.
func consumerOf(t brokers.Target) string { return "broker-" + t.URL }

func (d *deliveries) close() error { return d.log.Close() }

// NewSecret implements httpapi.Deliveries.
func (d *deliveries) NewSecret(from string) (string, error) { return d.secrets.New(from) }

// Seal implements httpapi.Deliveries.
func (d *deliveries) Seal(secret string) ([]byte, error) { return d.secrets.Seal(secret) }

// SealURL implements httpapi.Deliveries.
func (d *deliveries) SealURL(url string) ([]byte, error) { return d.secrets.SealURL(url) }

// Target implements httpapi.Deliveries.
func (d *deliveries) Target(w domain.Webhook) (string, error) { return d.secrets.Target(w) }

// Check implements httpapi.Deliveries.
func (d *deliveries) Check(url string) error { return webhooks.CheckURL(url, d.allow) }

// Attempts implements httpapi.Deliveries.
func (d *deliveries) Attempts(id string, limit int) ([]json.RawMessage, error) {
	return d.log.Newest(id, limit)
}
