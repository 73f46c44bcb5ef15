package wire

import (
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// Result is a command's answer.
type Result struct {
	Namespace string   `json:"namespace"`
	Service   string   `json:"service"`
	ID        string   `json:"id"`
	Position  Position `json:"position"` // of the command's event, or of the newest change where none was needed
	Epoch     uint64   `json:"epoch"`
	Revision  uint64   `json:"revision"`
}

// BatchResult is what became of each command of a batch, in their order.
type BatchResult struct {
	Results  []BatchItem `json:"results"`
	Accepted int         `json:"accepted"`
	Refused  int         `json:"refused"`
	Position Position    `json:"position"` // of the newest change
}

// BatchItem is a command's answer, or the problem with it.
type BatchItem struct {
	Result
	Problem *Problem `json:"problem,omitempty"` // nil: the command was carried out
}

// Webhook is a webhook as replies have it. The secret is shown once, when it is made.
type Webhook struct {
	ID string `json:"id"`
	domain.WebhookSpec
	Paused bool     `json:"paused"`
	Reason string   `json:"reason,omitempty"` // of the pause
	After  Position `json:"after"`            // position after which its deliveries began
	Secret string   `json:"secret,omitempty"`
}

// WebhookList is a page of the webhooks, the oldest first.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
	Next     string    `json:"next,omitempty"` // cursor of the next page; "": this is the last
}

// Attempt is one try to deliver one event to a webhook.
type Attempt struct {
	Event     string          `json:"event"`    // its id; the target sees it as webhook-id
	Position  Position        `json:"position"` // the event's
	Type      string          `json:"type"`
	Attempt   int             `json:"attempt"` // from 1
	At        time.Time       `json:"at"`
	Took      domain.Duration `json:"took"`
	Status    int             `json:"status,omitempty"` // HTTP status of the answer, if there was one
	Delivered bool            `json:"delivered"`
	Error     string          `json:"error,omitempty"`
}

// AttemptList is a webhook's attempts, newest first.
type AttemptList struct {
	Attempts []Attempt `json:"attempts"`
}
