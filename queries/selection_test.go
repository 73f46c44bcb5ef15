package queries_test

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/queries"
)

func TestSelectionsAreRead(t *testing.T) {
	for query, want := range map[string]queries.Selection{
		"":                                       {},
		"ns=":                                    {},
		"ns=shop":                                {Namespace: "shop"},
		"namespace=shop":                         {Namespace: "shop"},
		"namespace=shop&ns=shop":                 {Namespace: "shop"},
		"service=web&instance=a":                 {Service: "web", Instance: "a"},
		"type=InstanceRegistered,LeaseExpired":   {Types: []string{"InstanceRegistered", "LeaseExpired"}},
		"type=HealthChanged&type=LeaseExpired":   {Types: []string{"HealthChanged", "LeaseExpired"}},
		"heartbeats":                             {Heartbeats: true},
		"heartbeats=1&service=web":               {Service: "web", Heartbeats: true},
		"heartbeats=false&type=WebhookCreated":   {Types: []string{"WebhookCreated"}},
		"type=HeartbeatReceived&ns=shop&from=17": {Namespace: "shop", Types: []string{"HeartbeatReceived"}},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := queries.ParseSelection(values, "from"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v; want %+v", query, got, err, want)
		}
	}
}

func TestSelectionsAgainstTheRulesAreRefused(t *testing.T) {
	for query, field := range map[string]string{
		"colour=red": "colour", "from=1": "from", "ns=a&namespace=b": "namespace", "ns=A": "ns", "instance=a": "instance", "instance=a&ns=shop": "instance",
		"type=Nonsense": "type", "type=": "type", "type=LeaseExpired,": "type", "heartbeats=yes": "heartbeats",
		// These would give nothing, whatever happens.
		"type=WebhookCreated&ns=shop": "type", "type=SelfPreservationStarted&service=web": "type", "type=LeaseExpired,WebhookDeleted&service=web&instance=a": "type",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		var invalid domain.InvalidField
		if got, err := queries.ParseSelection(values); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%q is read as %+v, %v; want field %s refused", query, got, err, field)
		}
	}
}

// A selection's filter picks an event just when the event is of what the selection names.
func TestAFilterPicksWhatIsSelected(t *testing.T) {
	var streams []eventstore.StreamName
	for _, namespace := range []string{"default", "shop", "shopping"} {
		for _, service := range []string{"web", "web-2"} {
			for _, id := range []string{"a", "a1", "a/b"[:1] + ".b"} {
				k := domain.Key{Namespace: namespace, Service: service, ID: id}
				streams = append(streams, eventstore.LifecycleStream(k), eventstore.HeartbeatStream(k))
			}
		}
	}
	streams = append(streams, eventstore.RegistryStream, eventstore.WebhookStream("1"), "elsewhere")
	types := map[bool][]string{true: {domain.TypeHeartbeatReceived}, false: {domain.TypeInstanceRegistered, domain.TypeLeaseExpired, domain.TypeWebhookCreated, domain.TypeSelfPreservationEnded}}
	rapid.Check(t, func(t *rapid.T) {
		s := queries.Selection{
			Namespace:  rapid.SampledFrom([]string{"", "default", "shop"}).Draw(t, "namespace"),
			Service:    rapid.SampledFrom([]string{"", "web"}).Draw(t, "service"),
			Types:      rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Concat(types[true], types[false])), 0, 3, rapid.ID[string]).Draw(t, "types"),
			Heartbeats: rapid.Bool().Draw(t, "heartbeats"),
			Instances:  rapid.Bool().Draw(t, "instances"),
		}
		if s.Service != "" {
			s.Instance = rapid.SampledFrom([]string{"", "a", "a1"}).Draw(t, "instance")
		}
		filter, err := s.Filter()
		if err != nil {
			return // refused, as another test holds
		}
		for _, stream := range streams {
			beat := strings.HasPrefix(string(stream), "heartbeat-")
			for _, eventType := range types[beat] {
				if got, want := filter.Match(stream, eventType), selected(s, stream, eventType); got != want {
					t.Fatalf("%+v picks %s of %s: %v, want %v", s, eventType, stream, got, want)
				}
			}
		}
	})
}

// selected says from the stream's name alone whether a selection means an event.
func selected(s queries.Selection, stream eventstore.StreamName, eventType string) bool {
	kind, name, _ := strings.Cut(string(stream), "-")
	if len(s.Types) > 0 && !slices.Contains(s.Types, eventType) || kind == "heartbeat" && len(s.Types) == 0 && !s.Heartbeats {
		return false
	}
	if kind != "heartbeat" && kind != "instance" {
		return !s.Instances && s.Namespace == "" && s.Service == "" && stream != "elsewhere"
	}
	namespace := s.Namespace
	if s.Service != "" && namespace == "" {
		namespace = "default"
	}
	parts := strings.SplitN(name, "/", 3)
	for i, want := range []string{namespace, s.Service, s.Instance} {
		if want != "" && parts[i] != want {
			return false
		}
	}
	return true
}

func TestAWebhookSelectsEventsOfInstances(t *testing.T) {
	filter, err := queries.WebhookSelection(domain.WebhookSpec{URL: "https://example.com"}).Filter()
	if err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[eventstore.StreamName]bool{"instance-shop/web/a": true, "heartbeat-shop/web/a": false, "registry": false, "webhook-1": false} {
		if filter.Match(stream, "X") != want {
			t.Errorf("%s is picked: %v", stream, !want)
		}
	}
}

func TestInstanceFiltersAreRead(t *testing.T) {
	values, err := url.ParseQuery("status=passing,warning&status=critical&tag=a&tag=b&zone=z&version=2&ready&meta.k=v&meta.l=&ns=shop")
	if err != nil {
		t.Fatal(err)
	}
	got, err := queries.ParseInstanceFilter(values, "ns")
	want := queries.InstanceFilter{
		Statuses: []domain.Status{domain.Passing, domain.Warning, domain.Critical}, Tags: []string{"a", "b"}, Zone: "z", Version: "2", Ready: true,
		Metadata: map[string]string{"k": "v", "l": ""},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the filter is read as %+v, %v", got, err)
	}
	for query, field := range map[string]string{"status=ill": "status", "status=": "status", "ready=maybe": "ready", "colour=red": "colour", "ns=x": "ns", "meta=x": "meta"} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		var invalid domain.InvalidField
		if _, err := queries.ParseInstanceFilter(values); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%q: %v; want field %s refused", query, err, field)
		}
	}
}

// Filters that pick the same share one encoding of a view, and others do not.
func TestEqualFiltersShareOneEncoding(t *testing.T) {
	r := start(t)
	for i := range 3 {
		r.register(key("web", fmt.Sprint(i)), fmt.Sprint("z", i%2))
	}
	live, err := r.Catalog(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	form := func(query string) []byte {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		f, err := queries.ParseInstanceFilter(values)
		if err != nil {
			t.Fatal(err)
		}
		list, err := live.Instances(t.Context(), domain.ServiceKey{Namespace: "default", Service: "web"}, f, false)
		if err != nil {
			t.Fatal(err)
		}
		return list.Bytes
	}
	for one, other := range map[string]string{
		"zone=z0": "zone=z0", "status=passing,warning": "status=warning&status=passing", "tag=a&tag=b": "tag=b&tag=a&tag=a", "meta.a=1&meta.b=2": "meta.b=2&meta.a=1", "": "", "ready": "ready=true",
	} {
		if a, b := form(one), form(other); &a[0] != &b[0] {
			t.Errorf("%q and %q are encoded twice", one, other)
		}
	}
	seen := map[*byte]string{}
	for _, query := range []string{"zone=z0", "zone=z1", "version=z0", "tag=z0", "meta.zone=z0", "zone=z0&ready", "zone=z0&status=passing", "", "ready", "meta.a=b%26zone%3Dz0"} {
		b := form(query)
		if was, taken := seen[&b[0]]; taken {
			t.Errorf("%q is answered as %q", query, was)
		}
		seen[&b[0]] = query
	}
}
