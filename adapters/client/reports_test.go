package client_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

func TestReportsTimelinesAndHistogramsAskForWhatTheQuerySays(t *testing.T) {
	asked := ""
	c := registry(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		_, _ = io.WriteString(w, `{"position":"7"}`)
	})
	service := domain.ServiceKey{Namespace: "shop", Service: "web"}
	instance := domain.Key{Namespace: "shop", Service: "web", ID: "a+1"}
	ctx := t.Context()
	for want, ask := range map[string]func() error{
		"/v1/reports/namespaces/shop?from=5": func() error {
			_, err := c.ReportNamespace(ctx, "shop", client.ReportQuery{From: "5"})
			return err
		},
		"/v1/reports/services/web?below=3&from=5&ns=shop&to=7": func() error {
			_, err := c.ReportService(ctx, service, client.ReportQuery{From: "5", To: "7", Below: 3})
			return err
		},
		"/v1/reports/services/web/instances/a+1?from=5&ns=shop": func() error {
			_, err := c.ReportInstance(ctx, instance, client.ReportQuery{From: "5"})
			return err
		},
		"/v1/timeline/services/web?from=5&limit=9&ns=shop": func() error {
			_, err := c.ServiceTimeline(ctx, service, client.TimelineQuery{From: "5", Limit: 9})
			return err
		},
		"/v1/timeline/services/web/instances/a+1?from=5&ns=shop&to=7": func() error {
			_, err := c.InstanceTimeline(ctx, instance, client.TimelineQuery{From: "5", To: "7"})
			return err
		},
		"/v1/histogram?buckets=200&from=5&ns=shop&service=web&type=HealthChanged%2CLeaseExpired": func() error {
			_, err := c.Histogram(ctx, client.HistogramQuery{Namespace: "shop", Service: "web", Types: []string{"HealthChanged", "LeaseExpired"}, From: "5", Buckets: 200})
			return err
		},
	} {
		if err := ask(); err != nil || asked != want {
			t.Errorf("asked for %s, want %s: %v", asked, want, err)
		}
	}
	if _, err := c.ReportNamespace(ctx, "No Label", client.ReportQuery{From: "5"}); err == nil {
		t.Error("a namespace that is no label is taken")
	}
}
