package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// Deliveries delivers events to webhooks, as the API needs it.
type Deliveries interface {
	// NewSecret makes a signing secret: a new one, or ("" excepted) the one that follows from a text.
	NewSecret(from string) (string, error)
	// Seal encrypts a secret, so that an event can hold the secret.
	Seal(secret string) ([]byte, error)
	// SealURL encrypts the URL of a target, and Target gives the whole URL again.
	SealURL(url string) ([]byte, error)
	Target(w domain.Webhook) (string, error)
	// Check refuses a target that is not allowed.
	Check(url string) error
	// Attempts gives a webhook's newest attempts to deliver, newest first, in JSON.
	Attempts(id string, limit int) ([]json.RawMessage, error)
}

// showWebhook shows the whole URL: whoever may ask may manage the webhook. If the key has changed, the webhook shows the
// part that its events show.
func (a *api) showWebhook(w domain.Webhook) wire.Webhook {
	if target, err := a.Deliveries.Target(w); err == nil {
		w.Spec.URL = target
	}
	after := a.Queries.At(eventstore.Position(w.After)) // an event of this log names it, so it is one of this log's
	return wire.Webhook{ID: w.ID, WebhookSpec: w.Spec, Paused: w.Paused, Reason: w.Reason, After: after}
}

func (a *api) createWebhook(c echo.Context) error {
	var body struct {
		domain.WebhookSpec
		Secret string `json:"secret"` // default: a new one
		From   string `json:"from"`   // moment from which on to deliver; default: now
	}
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	if err := body.Validate(); err != nil {
		return err
	}
	if err := a.Deliveries.Check(body.URL); err != nil {
		return err
	}
	after, err := a.Queries.Before(c.Request().Context(), "from", body.From)
	if err != nil {
		return err
	}
	who, made := caller(c), body.Secret == ""
	if made {
		from := ""
		if who.Keyed != nil { // it is told again when the request is sent again
			from = who.KeyText()
		}
		body.Secret, err = a.Deliveries.NewSecret(from)
		if err != nil {
			return err
		}
	}
	sealed, err := a.Deliveries.Seal(body.Secret)
	if err != nil {
		return err
	}
	target, err := a.Deliveries.SealURL(body.URL)
	if err != nil {
		return err
	}
	id, err := a.WebhookCommands.Create(c.Request().Context(), who, domain.CreateWebhook{Spec: body.WebhookSpec, After: uint64(after), Secret: sealed, Target: target})
	if err != nil {
		return err
	}
	w, ok := a.Webhooks.Find(id)
	if !ok { // deleted since
		return domain.UnknownWebhook{ID: id}
	}
	shown := a.showWebhook(w)
	if made {
		shown.Secret = body.Secret
	}
	c.Response().Header().Set("Location", "/v1/webhooks/"+id)
	return c.JSON(http.StatusCreated, shown)
}

func (a *api) listWebhooks(c echo.Context) error {
	limit, err := queries.ParseNumber("limit", c.QueryParam("limit"), queries.DefaultPage, 1, queries.MaxPage)
	if err != nil {
		return err
	}
	after, err := webhookAfter(c.QueryParam("cursor"))
	if err != nil {
		return err
	}
	page, more := a.Webhooks.Page(after, int(limit))
	list := wire.WebhookList{Webhooks: []wire.Webhook{}}
	for _, w := range page {
		list.Webhooks = append(list.Webhooks, a.showWebhook(w))
	}
	if more {
		list.Next = base64.RawURLEncoding.EncodeToString([]byte(webhookCursor + page[len(page)-1].ID))
	}
	return c.JSON(http.StatusOK, list)
}

const webhookCursor = "webhook " // begins a cursor, before the id of the last webhook of the page

// webhookAfter is the id behind which the page of a cursor begins.
func webhookAfter(cursor string) (id string, err error) {
	if cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	id, ours := strings.CutPrefix(string(text), webhookCursor)
	if err != nil || !ours {
		return "", invalidField("cursor", "must be one that a page gave as next")
	}
	return id, nil
}

// webhook finds the webhook that the path names.
func (a *api) webhook(c echo.Context) (domain.Webhook, error) {
	id := pathPart(c, "id")
	w, ok := a.Webhooks.Find(id)
	if !ok {
		return w, domain.UnknownWebhook{ID: id}
	}
	return w, nil
}

func (a *api) getWebhook(c echo.Context) error {
	w, err := a.webhook(c)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, a.showWebhook(w))
}

func (a *api) deleteWebhook(c echo.Context) error {
	if err := a.WebhookCommands.Do(c.Request().Context(), caller(c), pathPart(c, "id"), domain.DeleteWebhook{Reason: c.QueryParam("reason")}); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// changeWebhook carries out a command and shows the webhook after it.
func (a *api) changeWebhook(c echo.Context, command domain.WebhookCommand) error {
	if err := a.WebhookCommands.Do(c.Request().Context(), caller(c), pathPart(c, "id"), command); err != nil {
		return err
	}
	return a.getWebhook(c)
}

func (a *api) pauseWebhook(c echo.Context) error {
	var body struct {
		Reason string `json:"reason"`
	}
	if err := decodeBody(c, &body, true); err != nil {
		return err
	}
	return a.changeWebhook(c, domain.PauseWebhook{Reason: body.Reason})
}

func (a *api) resumeWebhook(c echo.Context) error {
	if err := refuseBody(c); err != nil {
		return err
	}
	return a.changeWebhook(c, domain.ResumeWebhook{})
}

func (a *api) replayWebhook(c echo.Context) error {
	var body struct {
		From string `json:"from"`
	}
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	if body.From == "" {
		return invalidField("from", `is needed: an RFC 3339 time, a position, or "5m ago"`)
	}
	after, err := a.Queries.Before(c.Request().Context(), "from", body.From)
	if err != nil {
		return err
	}
	return a.changeWebhook(c, domain.ReplayWebhook{After: uint64(after)})
}

func (a *api) webhookDeliveries(c echo.Context) error {
	w, err := a.webhook(c)
	if err != nil {
		return err
	}
	limit, err := queries.ParseNumber("limit", c.QueryParam("limit"), queries.DefaultPage, 1, queries.MaxPage)
	if err != nil {
		return err
	}
	attempts, err := a.Deliveries.Attempts(w.ID, int(limit))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]any{"attempts": attempts})
}

// webhookHistory answers also for a deleted webhook.
func (a *api) webhookHistory(c echo.Context) error {
	return a.historyOf(c, queries.HistoryQuery{Webhook: pathPart(c, "id")})
}
