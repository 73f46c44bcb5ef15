package domain_test

import (
	"errors"
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

// An event that another program wrote with a status that does not exist cannot be decoded, wherever the status stands. Otherwise
// readers that keep a status as a number would fold the stream to another state than readers that keep it as a text.
func TestAnEventWithAnUnknownStatusCannotBeDecoded(t *testing.T) {
	for _, e := range []struct{ eventType, field, data string }{
		{domain.TypeInstanceRegistered, "status", `{"epoch":1,"address":"10.0.0.1","weight":100,"status":"fine","ttl":"30s"}`},
		{domain.TypeInstanceRegistered, "reported", `{"epoch":1,"reported":"fine","address":"10.0.0.1","weight":100,"status":"passing","ttl":"30s"}`},
		{domain.TypeInstanceUpdated, "reported", `{"epoch":1,"changed":["status"],"reported":"fine","address":"10.0.0.1","weight":100,"status":"passing","ttl":"30s"}`},
		{domain.TypeHealthChanged, "to", `{"epoch":1,"from":"passing","to":"fine","source":"client"}`},
		{domain.TypeHealthChanged, "reported", `{"epoch":1,"from":"passing","to":"warning","source":"client","reported":"fine"}`},
		{domain.TypeCheckChanged, "to", `{"epoch":1,"check":"http","from":"passing","to":"fine"}`},
	} {
		_, err := domain.DecodeEvent(e.eventType, []byte(e.data))
		var refused domain.InvalidField
		if !errors.As(err, &refused) || refused.Field != e.field {
			t.Errorf("%s %s gave %v, want the field %s refused", e.eventType, e.data, err, e.field)
		}
	}
}
