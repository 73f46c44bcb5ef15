package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// NewWebhook describes a new webhook.
type NewWebhook struct {
	domain.WebhookSpec
	Secret string `json:"secret,omitempty"` // "": the registry makes one and shows it once
	From   Moment `json:"from,omitempty"`   // deliver from this moment on; "": from now on
}

func webhookPath(id string) string { return "/v1/webhooks/" + url.PathEscape(id) }

// CreateWebhook creates a webhook: the registry posts events to the webhook's URL.
func (c *Client) CreateWebhook(ctx context.Context, w NewWebhook) (Reply[wire.Webhook], error) {
	return change[wire.Webhook](ctx, c, request{method: http.MethodPost, path: "/v1/webhooks", body: w})
}

// Webhooks lists every webhook. It asks for page after page; Raw is as one page with all of them would be.
func (c *Client) Webhooks(ctx context.Context) (Reply[wire.WebhookList], error) {
	return pages(ctx, c, "/v1/webhooks", url.Values{},
		func(l *wire.WebhookList) *string { return &l.Next },
		func(l *wire.WebhookList, next wire.WebhookList) { l.Webhooks = append(l.Webhooks, next.Webhooks...) })
}

// Webhook is one webhook.
func (c *Client) Webhook(ctx context.Context, id string) (Reply[wire.Webhook], error) {
	return ask[wire.Webhook](ctx, c, get(webhookPath(id), nil))
}

// PauseWebhook pauses a webhook. Events that are due wait.
func (c *Client) PauseWebhook(ctx context.Context, id, reason string) (Reply[wire.Webhook], error) {
	body := map[string]string{}
	if reason != "" {
		body["reason"] = reason
	}
	return c.changeWebhook(ctx, id, "pause", body)
}

// ResumeWebhook lets a paused webhook go on.
func (c *Client) ResumeWebhook(ctx context.Context, id string) (Reply[wire.Webhook], error) {
	return c.changeWebhook(ctx, id, "resume", nil)
}

// ReplayWebhook delivers the events from a moment on again.
func (c *Client) ReplayWebhook(ctx context.Context, id string, from Moment) (Reply[wire.Webhook], error) {
	return c.changeWebhook(ctx, id, "replay", map[string]Moment{"from": from})
}

func (c *Client) changeWebhook(ctx context.Context, id, action string, body any) (Reply[wire.Webhook], error) {
	return change[wire.Webhook](ctx, c, request{method: http.MethodPost, path: webhookPath(id) + "/" + action, body: body})
}

// DeleteWebhook deletes a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, id, reason string) error {
	return c.end(ctx, webhookPath(id), reason)
}

// Deliveries are a webhook's newest attempts to deliver, at most limit; 0: the registry's default.
func (c *Client) Deliveries(ctx context.Context, id string, limit int) (Reply[wire.AttemptList], error) {
	query := url.Values{}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	return ask[wire.AttemptList](ctx, c, get(webhookPath(id)+"/deliveries", query))
}
