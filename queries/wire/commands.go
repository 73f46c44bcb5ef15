package wire

import "github.com/rollcall-registry/rollcall/domain"

// Result is a command's answer.
type Result struct {
	Namespace string   `json:"namespace"`
	Service   string   `json:"service"`
	ID        string   `json:"id"`
	Position  Position `json:"position"` // of the command's event, or of the newest change where none was needed
	Epoch     uint64   `json:"epoch"`
	Revision  uint64   `json:"revision"`
}

// Webhook is a webhook as replies have it. The secret is shown once, when it is made.
type Webhook struct {
	ID string `json:"id"`
	domain.WebhookSpec
	Paused bool   `json:"paused"`
	Reason string `json:"reason,omitempty"` // of the pause
	After  string `json:"after"`            // position after which its deliveries began
	Secret string `json:"secret,omitempty"`
}

// WebhookList is every webhook.
type WebhookList struct {
	Webhooks []Webhook `json:"webhooks"`
}
