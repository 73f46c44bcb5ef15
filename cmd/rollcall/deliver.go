package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall-registry/rollcall/adapters/brokers"
	"github.com/rollcall-registry/rollcall/adapters/metrics"
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
	deliverer   *webhooks.Deliverer
	checkpoints *stream.Checkpoints
	targets     []brokers.Target
	observed    *metrics.Deliveries
	store       eventstore.Store
	storeID     uuid.UUID
	allow       bool
	logger      *slog.Logger
}

// deliverer is on whose behalf a failing webhook is paused.
var deliverer = commands.Caller{Actor: "rollcall", Via: domain.ViaWebhooks}

func openDeliveries(ctx context.Context, s settings, store eventstore.Store, storeID uuid.UUID, observed *metrics.Deliveries, logger *slog.Logger) (*deliveries, error) {
	d := &deliveries{observed: observed, store: store, storeID: storeID, allow: s.webhookAllowPrivate, logger: logger}
	for _, url := range s.publish {
		t, err := brokers.Parse(url)
		if err == nil {
			_, err = stream.ParseTopic(t.Events())
		}
		if err != nil {
			return nil, usageError{err}
		}
		d.targets = append(d.targets, t)
	}
	var err error
	if d.list, err = webhookList.Open(ctx, store); err != nil {
		return nil, err
	}
	load := func() (*webhooks.Secrets, error) { return webhooks.LoadSecrets(filepath.Join(s.data, "webhooks.key")) }
	if d.secrets, err = loadKey(load, func() error { return sealedSecrets(ctx, store, d.list) }, logger); err != nil {
		return nil, err
	}
	if d.checkpoints, err = stream.OpenCheckpoints(filepath.Join(s.data, "consumers")); err != nil {
		return nil, err
	}
	if d.log, err = webhooks.OpenLog(filepath.Join(s.data, "deliveries"), logger); err != nil {
		return nil, err
	}
	positions, err := webhooks.OpenPositions(filepath.Join(s.data, "consumers", "webhooks.log"), d.checkpoints, logger)
	if err != nil {
		return nil, err
	}
	d.commands = &commands.Webhooks{Store: store, WaitFor: d.list.WaitFor}
	d.deliverer = webhooks.New(webhooks.Options{
		Store: store, Positions: positions, Secrets: d.secrets, Log: d.log, StoreID: storeID.String(), Allow: s.webhookAllowPrivate, PauseAfter: s.webhookPauseAfter,
		Pause: func(ctx context.Context, id, reason string) error {
			return d.commands.Do(ctx, deliverer, id, domain.PauseWebhook{Reason: reason})
		},
		Observe: func(id string) webhooks.Observer { return observed.Target("webhook", id) }, Now: time.Now, Logger: logger,
	})
	return d, nil
}

// subscribe makes the subscriber of one broker: what is published is the event in the JSON form of CloudEvents.
func (d *deliveries) subscribe(consumer string, after eventstore.Position, selection queries.Selection) (message.Subscriber, error) {
	return stream.NewSubscriber(stream.Config{
		Source: d.store, Consumer: consumer, Checkpoints: d.checkpoints, From: after, Grace: webhooks.DefaultGrace, Message: webhooks.NewMessage(d.storeID.String()),
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
	for _, w := range d.list.All() { // so that the follower finds them
		d.deliverer.Changed(w)
	}
	group.Go(func() error { return d.deliverer.Run(delivering) })
	group.Go(func() error { return d.list.Run(ctx, d.store, d.logger, d.deliverer.Changed) })
	for _, t := range d.targets {
		group.Go(func() error {
			selection, err := stream.ParseTopic(t.Events())
			if err != nil {
				return err
			}
			sub, err := d.subscribe("broker-"+t.URL, 0, selection)
			if err != nil {
				return err
			}
			return errors.Join(brokers.Run(delivering, t, sub, d.observed.Target("broker", t.URL), d.logger), sub.Close())
		})
	}
	return group.Wait()
}

func (d *deliveries) close() error { return d.log.Close() }

// NewSecret implements httpapi.Deliveries.
func (d *deliveries) NewSecret() (string, error) { return d.secrets.New() }

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
