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
	Outcome   string   `json:"outcome,omitempty"` // of a registration: created, updated or renewed
}

// ReturnMinimal is the preference (RFC 7240) of a caller to whom the reply to a batch shall count what succeeded, and not list it.
const ReturnMinimal = "return=minimal"

// BatchResult is what became of the commands of a batch: each is in Succeeded or in Failed, by its index in the batch, or was carried out
// and is counted in Omitted, for a caller who prefers a minimal reply.
type BatchResult struct {
	Succeeded []BatchSuccess `json:"succeeded"`
	Failed    []BatchFailure `json:"failed"`
	Omitted   int            `json:"omitted,omitempty"`
	Position  Position       `json:"position"` // of the newest change
}

// BatchSuccess is the answer to a command that was carried out.
type BatchSuccess struct {
	Index int `json:"index"` // of the command in the batch, from 0
	Result
}

// BatchFailure is the problem with a command that was refused.
type BatchFailure struct {
	Index   int     `json:"index"` // of the command in the batch, from 0
	Problem Problem `json:"problem"`
}

// BatchItem is what became of one command of a batch.
type BatchItem struct {
	Result
	Problem *Problem // nil: the command was carried out
}

// InOrder is what became of each of the n commands of the batch, in their order. ok is false if the result does not tell
// it of each command just once. Those that were omitted have no Result.
func (r *BatchResult) InOrder(n int) (items []BatchItem, ok bool) {
	if len(r.Succeeded)+len(r.Failed)+r.Omitted != n || r.Omitted < 0 || r.Omitted > 0 && len(r.Succeeded) > 0 {
		return nil, false
	}
	items, told := make([]BatchItem, n), make([]bool, n)
	tell := func(index int, item BatchItem) bool {
		if index < 0 || index >= n || told[index] {
			return false
		}
		items[index], told[index] = item, true
		return true
	}
	for _, s := range r.Succeeded {
		if !tell(s.Index, BatchItem{Result: s.Result}) {
			return nil, false
		}
	}
	for i := range r.Failed {
		if !tell(r.Failed[i].Index, BatchItem{Problem: &r.Failed[i].Problem}) {
			return nil, false
		}
	}
	return items, true
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

// BackupRequest asks for a backup.
type BackupRequest struct {
	Have []BackupFile `json:"have"` // files of an earlier backup; tables among them are left out
}

// BackupFile is a file of a backup.
type BackupFile struct {
	Name   string `json:"name"`           // in the data folder
	Path   string `json:"path,omitempty"` // in the folder of the backup; "": as its name
	Size   int64  `json:"size"`           // bytes
	SHA256 string `json:"sha256"`         // in hexadecimal digits
}
