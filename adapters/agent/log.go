package agent

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// keeping logs how the instances are kept registered. What befalls the registry is logged once, not for each of the instances.
type keeping struct {
	logger *slog.Logger

	mu   sync.Mutex
	away string // why the registry does not serve; "": it does
}

// of gives the function that logs the states of one instance.
func (k *keeping) of(key domain.Key) func(client.State) {
	logger := k.logger.With("instance", key.String())
	var told client.State // the newest state that was logged for the instance itself
	return func(s client.State) {
		switch {
		case s.Err != nil && s.Phase != client.Replaced && s.Phase != client.Ended && ofRegistry(s.Err):
			k.lost(s.Err)
			return
		case s.Err != nil:
			logger.Warn("an instance cannot be kept registered", "phase", s.Phase, "cause", s.Err)
		case s.Phase == client.Ended:
			return
		default:
			k.back()
			if s.Phase != told.Phase || s.Epoch != told.Epoch || told.Err != nil {
				logger.Info("an instance is "+string(s.Phase), "epoch", s.Epoch)
			}
		}
		told = s
	}
}

// ofRegistry says whether an error is about the registry, or the agent's token, and not about one instance.
func ofRegistry(err error) bool {
	var refused *wire.Problem
	if errors.As(err, &refused) {
		return refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusUnauthorized
	}
	return !errors.As(err, new(*client.Restored))
}

func (k *keeping) lost(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if cause := err.Error(); cause != k.away {
		k.logger.Warn("instances cannot be kept registered", "cause", cause)
		k.away = cause
	}
}

func (k *keeping) back() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away != "" {
		k.logger.Info("instances are kept registered again")
		k.away = ""
	}
}
