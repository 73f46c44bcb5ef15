package catalog

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
)

// View is a service at a moment. It never changes.
type View struct {
	Service  domain.ServiceKey
	Position eventstore.Position // of the newest change to the service; 0 when it has no instance
	Entries  []*Entry            // in order of their ids

	all, ready encoding
}

// Instance is the form in which an instance is shown to people and programs.
type Instance struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	ID        string `json:"id"`
	domain.Details
	Traffic        domain.Traffic `json:"traffic"`
	Epoch          uint64         `json:"epoch"`
	Revision       uint64         `json:"revision"`
	RegisteredAt   time.Time      `json:"registered_at"`
	ChangedAt      time.Time      `json:"changed_at"`
	LeaseExpiresAt *time.Time     `json:"lease_expires_at,omitempty"`
}

// Show is the entry's form for people and programs. Its status is the present one.
func (e *Entry) Show() Instance {
	i := Instance{
		Namespace: e.service.key.Namespace, Service: e.service.key.Service, ID: e.ID(), Details: e.Details(),
		Traffic: e.Traffic(), Epoch: e.Epoch, Revision: e.Revision(), RegisteredAt: e.RegisteredAt(), ChangedAt: e.ChangedAt(),
	}
	i.Status = e.Status()
	return i
}

// Encoded is a view's JSON form and the ETag that changes with it. Neither may be changed.
type Encoded struct {
	JSON []byte
	ETag string
}

type encoding struct {
	once sync.Once
	done Encoded
}

// Encode gives the view's JSON: made once, however many ask.
func (v *View) Encode() Encoded { return v.encode(&v.all, v.Entries) }

// EncodeReady is Encode for the instances that may get traffic.
func (v *View) EncodeReady() Encoded {
	return v.encode(&v.ready, v.Ready())
}

// Ready are the instances that may get traffic.
func (v *View) Ready() []*Entry {
	var ready []*Entry
	for _, e := range v.Entries {
		if e.Ready() {
			ready = append(ready, e)
		}
	}
	return ready
}

func (v *View) encode(into *encoding, entries []*Entry) Encoded {
	into.once.Do(func() { into.done = encodeEntries(v, entries) })
	return into.done
}

func encodeEntries(v *View, entries []*Entry) Encoded {
	shown := make([]Instance, len(entries))
	for i, e := range entries {
		shown[i] = e.Show()
	}
	return EncodeList(v.Service, v.Position, shown)
}

// EncodeList gives the JSON form of some of a service's instances.
func EncodeList(service domain.ServiceKey, position eventstore.Position, instances []Instance) Encoded {
	if instances == nil {
		instances = []Instance{}
	}
	b, err := json.Marshal(struct {
		Service   string              `json:"service"`
		Namespace string              `json:"namespace"`
		Position  eventstore.Position `json:"position,string"`
		Instances []Instance          `json:"instances"`
	}{service.Service, service.Namespace, position, instances})
	if err != nil {
		panic(err) // strings, numbers and times of ours: nothing in it can fail to encode
	}
	return Encoded{JSON: b, ETag: ETag(b)}
}

// ETag names content, so that it is the same on every node and after every restart.
func ETag(b []byte) string {
	return `"` + strconv.FormatUint(xxhash.Sum64(b), 36) + `"`
}
