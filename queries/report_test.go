package queries_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/domain/eventstore"
	"github.com/rollcall-registry/rollcall/domain/eventstore/eventstoretest"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

// minute is a moment of the story, as clients write it.
func minute(n int) string { return epoch.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }

// tell lets events happen, each at its minute.
func (r *rig) tell(events ...any) {
	r.t.Helper()
	now := epoch
	r.store.Now = func() time.Time { return now }
	r.Now = func() time.Time { return epoch.Add(1000 * time.Minute) }
	for i := 0; i < len(events); i += 3 {
		now = epoch.Add(time.Duration(events[i].(int)) * time.Minute)
		stream := eventstore.RegistryStream
		if k, ok := events[i+1].(domain.Key); ok {
			stream = eventstore.LifecycleStream(k)
		}
		r.append(stream, events[i+2].(domain.Event))
	}
}

func versioned(zone, version string) domain.Details {
	d := details(zone)
	d.Version = version
	return d
}

// outage is a service with two instances, of which one lapses and is replaced, and then a deploy.
func outage(t testing.TB) *rig {
	r := start(t)
	settle := r.withHistory()
	a, b, c, d := key("web", "a"), key("web", "b"), key("web", "c"), key("web", "d")
	r.tell(
		0, a, domain.InstanceRegistered{Epoch: 1, Details: versioned("eu", "1")},
		0, b, domain.InstanceRegistered{Epoch: 1, Details: versioned("us", "1")},
		5, key("db", "x"), domain.InstanceRegistered{Epoch: 1, Details: details("")},
		20, nil, domain.ListeningInterrupted{From: epoch.Add(18 * time.Minute), To: epoch.Add(20 * time.Minute), Cause: domain.DeafDiskFull},
		30, b, domain.LeaseExpired{Epoch: 1, LastHeard: domain.LastHeard{LastHeartbeat: epoch.Add(17 * time.Minute)}},
		40, c, domain.InstanceRegistered{Epoch: 1, Details: versioned("us", "1")},
		50, a, domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Draining},
		60, d, domain.InstanceRegistered{Epoch: 1, Details: versioned("eu", "2")},
		65, a, domain.InstanceDeregistered{Epoch: 1, Reason: domain.ExitReason(137, 9)},
		70, a, domain.InstanceRegistered{Epoch: 2, Details: versioned("eu", "2")},
		80, c, domain.InstanceDeregistered{Epoch: 1, Reason: "scaled down"},
	)
	settle()
	return r
}

func TestAReportTellsAnOutageAndADeploy(t *testing.T) {
	r := outage(t)
	got, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: minute(10), To: minute(110), Below: "2"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Seconds != 6000 || got.Listened != 5880 || got.Events != 7 {
		t.Errorf("the report is %+v", got)
	}
	// a and b until 30, a until 40, a and c until 60, with a draining from 50, and so on.
	if want := (wire.Extent{Min: 1, Max: 3, Mean: (2*(30-10-2) + 1*10 + 2*20 + 3*5 + 2*5 + 3*10 + 2*30) / 98.0}); got.Total.Registered != want {
		t.Errorf("registered %+v, want %+v", got.Total.Registered, want)
	}
	if got.Total.Ready.Min != 1 || got.Total.Ready.Max != 3 || got.Total.BelowSeconds != 20*60 {
		t.Errorf("ready %+v", got.Total)
	}
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	if want := []wire.BelowPeriod{{From: at(30), To: at(40), Seconds: 600, Lowest: 1}, {From: at(50), To: at(60), Seconds: 600, Lowest: 1}}; !reflect.DeepEqual(got.BelowPeriods, want) {
		t.Errorf("below are %+v", got.BelowPeriods)
	}
	if got.Total.Traffic[domain.Draining] != 15*60 || got.Total.Statuses[domain.Passing] != got.Total.RegisteredSeconds {
		t.Errorf("states are %+v", got.Total)
	}
	if c := got.Churn; c.Registered != 3 || c.Again != 1 || c.Ended != 3 || c.Lapsed != 1 || c.Crashed != 1 || c.ExitCodes[137] != 1 || c.Deregistered != 1 {
		t.Errorf("churn is %+v", c)
	}
	// b was last heard at 17, lapsed at 30, and the registry was deaf for two minutes meanwhile; c came at 40. a crashed at 65 and came back at 70.
	if want := (wire.ReportDeaths{Count: 2, Detection: wire.Delays{Count: 1, Min: 660, Mean: 660, Max: 660}, Replaced: wire.Delays{Count: 2, Min: 300, Mean: 840, Max: 1380}}); got.Deaths != want {
		t.Errorf("deaths are %+v, want %+v", got.Deaths, want)
	}
	if want := []wire.Deploy{{
		Namespace: "default", Service: "web", Version: "2", Replaces: []string{"1"}, From: at(60), To: at(70), Seconds: 600, Instances: 2, Ready: wire.Extent{Min: 2, Max: 2, Mean: 2},
	}}; !reflect.DeepEqual(got.Deploys, want) {
		t.Errorf("deploys are %+v, want %+v", got.Deploys, want)
	}
	if len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "could not take heartbeats for 2 m") {
		t.Errorf("notes are %q", got.Notes)
	}
	groups := map[string]float64{}
	for _, g := range got.Groups {
		groups[g.Dimension+":"+g.Name] = g.RegisteredSeconds / 60
	}
	if want := map[string]float64{"zone:eu": 53 + 50 + 40, "zone:us": 18 + 40, "version:1": 53 + 18 + 40, "version:2": 50 + 40, "service:default/web": 53 + 50 + 40 + 18 + 40}; !reflect.DeepEqual(groups, want) {
		t.Errorf("groups are %v, want %v", groups, want)
	}
}

// A report on one instance, and one on a service and a namespace that hold nothing else, are the same.
func TestReportsOnAnInstanceAServiceAndANamespaceAgree(t *testing.T) {
	r := start(t)
	settle := r.withHistory()
	a := key("web", "a")
	r.tell(
		0, a, domain.InstanceRegistered{Epoch: 1, Details: versioned("eu", "1")},
		10, a, domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Critical, Source: domain.FromClient},
		20, a, domain.InstanceDeregistered{Epoch: 1},
		30, a, domain.TrafficChanged{Epoch: 1, From: domain.Serving, To: domain.Serving},
		40, a, domain.InstanceRegistered{Epoch: 2, Details: versioned("eu", "2"), Maintenance: &domain.InMaintenance{By: "ann"}},
	)
	settle()
	for _, span := range [][2]int{{-5, 50}, {0, 50}, {5, 15}, {15, 25}, {20, 30}, {25, 45}, {41, 50}} {
		var all []wire.Report
		for _, q := range []queries.ReportQuery{{Namespace: "default", Service: "web", Instance: "a"}, {Namespace: "default", Service: "web"}, {Namespace: "default"}} {
			q.From, q.To = minute(span[0]), minute(span[1])
			got, err := r.Report(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			if q.Instance != "" {
				if got.Heartbeats == nil {
					t.Error("a report on an instance has no heartbeats")
				}
				got.Notes = got.Notes[:len(got.Notes)-1]
			}
			got.Heartbeats, got.Service, got.ID = nil, "", ""
			all = append(all, got)
		}
		if !reflect.DeepEqual(all[0], all[1]) || !reflect.DeepEqual(all[1], all[2]) {
			t.Errorf("reports from %d to %d differ:\n%+v\n%+v\n%+v", span[0], span[1], all[0], all[1], all[2])
		}
	}
}

func TestWhatAReportCannotBeAboutIsRefusedByName(t *testing.T) {
	r := outage(t)
	for _, c := range []struct {
		q     queries.ReportQuery
		field string
		says  string
	}{
		{queries.ReportQuery{Service: "web", To: minute(10)}, "from", "must be given"},
		{queries.ReportQuery{Service: "web", From: minute(10), To: minute(10)}, "from", "must be before to"},
		{queries.ReportQuery{Service: "web", From: minute(11), To: minute(10)}, "from", "must be before to"},
		{queries.ReportQuery{Service: "web", From: "9", To: "3"}, "from", "must be before to"},
		{queries.ReportQuery{Service: "web", From: minute(-20), To: minute(-10)}, "to", "must be after the first event"},
		{queries.ReportQuery{Service: "web", From: minute(10), To: minute(100_000)}, "to", "future"},
		{queries.ReportQuery{Service: "web", From: minute(100_000)}, "from", "future"},
		{queries.ReportQuery{Service: "web", From: "999"}, "from", "assigned"},
		{queries.ReportQuery{Service: "web", From: "soon"}, "from", "RFC 3339"},
		{queries.ReportQuery{Service: "web", From: minute(10), Below: "0"}, "below", ""},
		{queries.ReportQuery{Service: "web", From: minute(10), Below: "x"}, "below", ""},
	} {
		c.q.Namespace = "default"
		_, err := r.Report(context.Background(), c.q)
		var invalid domain.InvalidField
		if !errors.As(err, &invalid) || invalid.Field != c.field || !strings.Contains(invalid.Rule, c.says) {
			t.Errorf("%+v gives %v, want %s: %s", c.q, err, c.field, c.says)
		}
		if c.q.Below == "" {
			if _, again := r.Timeline(context.Background(), c.q, ""); again == nil || again.Error() != err.Error() {
				t.Errorf("the timeline of %+v gives %v, want %v", c.q, again, err)
			}
		}
	}
	var service queries.UnknownService
	if _, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "never", From: minute(0)}); !errors.As(err, &service) {
		t.Error(err)
	}
	var instance domain.UnknownInstance
	if _, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", Instance: "never", From: minute(0)}); !errors.As(err, &instance) {
		t.Error(err)
	}
	var invalid domain.InvalidField
	if _, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "never", From: minute(0)}); !errors.As(err, &invalid) || invalid.Field != "namespace" {
		t.Error(err)
	}
	got, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: minute(-60)})
	if err != nil || !got.From.Equal(epoch) || len(got.Notes) == 0 || !strings.Contains(got.Notes[0], "Nothing is known of the time before") {
		t.Errorf("a report from before the first event is %+v, %v", got, err)
	}
}

// forgetful is a store that does not keep the events at some positions any more.
type forgetful struct {
	*eventstoretest.Memory
	gone eventstore.Position
}

func (s forgetful) ReadAll(ctx context.Context, opts eventstore.ReadAllOptions) iter.Seq2[eventstore.RecordedEvent, error] {
	if opts.After+1 == s.gone {
		opts.After++
	}
	return s.Memory.ReadAll(ctx, opts)
}

func TestAReportSaysThatThePositionWhereItBeginsIsNotKept(t *testing.T) {
	r := outage(t)
	r.Store = forgetful{r.store, 4}
	got, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: "4", To: minute(100)})
	if err != nil || !got.From.Equal(epoch.Add(30*time.Minute)) || len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "No event is kept at position 4: ") {
		t.Errorf("the report is %+v, %v", got, err)
	}
	got, err = r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: "3", To: minute(100)})
	if err != nil || !got.From.Equal(epoch.Add(5*time.Minute)) || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "could not take heartbeats") {
		t.Errorf("the report is %+v, %v", got, err)
	}
}

func TestTheTimelineTellsWhoChangedAnInstanceAndWhy(t *testing.T) {
	r := outage(t)
	got, err := r.Timeline(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", Instance: "a", From: minute(10), To: minute(100)}, "")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, i := range got.Lanes[0].Intervals {
		words := fmt.Sprintf("%v-%v epoch %d %s %s %s", i.From.Sub(epoch).Minutes(), i.To.Sub(epoch).Minutes(), i.Epoch, i.Status, i.Traffic, i.Version)
		if i.Began != nil {
			words += ", by " + i.Began.Actor + ": " + i.Began.Summary
		}
		if i.Ended != nil {
			words += "; ended: " + i.Ended.Summary
		}
		told = append(told, words)
	}
	want := []string{
		"10-50 epoch 1 passing serving 1; ended: traffic went from serving to draining",
		"50-65 epoch 1 passing draining 1, by ann: traffic went from serving to draining; ended: deregistered: exited with code 137, killed by signal 9",
		"70-100 epoch 2 passing serving 2, by ann: registered again, for the 2nd time at 10.0.0.5, passing, ttl 1h0m0s",
	}
	for i := range want { // the words of a lease are not this test's
		if i >= len(told) || !strings.HasPrefix(told[i], strings.TrimSuffix(want[i], ", ttl 1h0m0s")) {
			t.Fatalf("the timeline tells\n%s", strings.Join(told, "\n"))
		}
	}
	part, err := r.Timeline(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: minute(10), To: minute(100)}, "2")
	if err != nil || !part.CompleteTo.Equal(epoch.Add(60*time.Minute)) {
		t.Errorf("a timeline of two intervals is %+v, %v", part, err)
	}
}

// The numbers of a histogram are those of a look at every event, whatever the span and the selection.
func TestAHistogramCountsEveryEventOnce(t *testing.T) {
	r := start(t)
	r.segment = 32 // so that buckets have whole segments, and bounds divide others
	settle := r.withHistory()
	rng := rand.New(rand.NewPCG(3, 4))
	all := happen(r, rng, 600)
	settle()
	last := all[len(all)-1].RecordedAt
	for range 200 {
		from := epoch.Add(time.Duration(rng.Int64N(int64(last.Sub(epoch)))))
		to := from.Add(1 + time.Duration(rng.Int64N(int64(last.Sub(from)))))
		buckets := 1 + rng.IntN(40)
		q := queries.HistogramQuery{From: from.Format(time.RFC3339Nano), To: to.Format(time.RFC3339Nano), Buckets: fmt.Sprint(buckets)}
		q.Namespace = []string{"", "default"}[rng.IntN(2)]
		if q.Namespace != "" {
			q.Service = []string{"", "web", "cart"}[rng.IntN(3)]
		}
		got, err := r.Histogram(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]int{}
		total := 0
		for _, e := range all {
			k, ok := e.Stream.InstanceKey()
			if e.Stream.IsHeartbeat() || !ok || q.Service != "" && k.Service != q.Service || e.RecordedAt.Before(got.From) || e.RecordedAt.After(got.To) {
				continue
			}
			bucket := 0
			for bucket+1 < buckets && !e.RecordedAt.Before(got.Buckets[bucket+1]) {
				bucket++
			}
			if want[e.Type] == nil {
				want[e.Type] = make([]int, buckets)
			}
			want[e.Type][bucket]++
			total++
		}
		if !reflect.DeepEqual(got.Types, want) || got.Total != total {
			t.Fatalf("%+v gives %v, want %v", q, got.Types, want)
		}
	}
	var invalid domain.InvalidField
	for _, q := range []queries.HistogramQuery{
		{From: minute(0), Buckets: "0"}, {From: minute(0), Buckets: "1001"}, {From: minute(0), Selection: queries.Selection{Types: []string{"HeartbeatReceived"}}},
		{From: minute(0), Selection: queries.Selection{Types: []string{"x"}}}, {Buckets: "3"}, {From: minute(0), Selection: queries.Selection{Namespace: "never"}},
	} {
		if _, err := r.Histogram(context.Background(), q); !errors.As(err, &invalid) {
			t.Errorf("%+v gives %v", q, err)
		}
	}
}

// A spreadsheet carries out a cell that begins like a formula, and versions and reasons are what clients sent.
func TestACellOfCSVIsNoFormula(t *testing.T) {
	r := wire.Report{Notes: []string{`=HYPERLINK("http://x")`, "+1", "-1", "@sum", "\t=1", "plain = text", ""}}
	var lines strings.Builder
	if err := r.WriteCSV(&lines); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(lines.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, row := range rows {
		if row[0] == "notes" {
			got[row[1]] = row[3]
		}
	}
	want := map[string]string{"1": `'=HYPERLINK("http://x")`, "2": "'+1", "3": "'-1", "4": "'@sum", "5": "'\t=1", "6": "plain = text", "7": ""}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAReportIsWrittenAsCSVAndMarkdown(t *testing.T) {
	r := outage(t)
	got, err := r.Report(context.Background(), queries.ReportQuery{Namespace: "default", Service: "web", From: minute(10), To: minute(110), Below: "2"})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	if err := got.WriteCSV(&lines); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(lines.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, row := range rows {
		found[strings.Join(row[:3], ",")] = row[3]
	}
	for figure, want := range map[string]string{
		"table,row,figure": "value", "instances,total,ready_min": "1", "states,total,draining": "900", "counts,crashed with exit code 137,count": "1",
		"deaths,detected,mean": "660", "deploys,web 2,instances": "2", "below,2026-01-02T03:34:05Z,length": "600", "interruptions,2026-01-02T03:22:05Z,cause": "disk-full",
	} {
		if found[figure] != want {
			t.Errorf("%s is %q, want %q", figure, found[figure], want)
		}
	}
	got.Deploys[0].Version = "a|b\n<i>"
	var text strings.Builder
	if err := got.WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# Report on default/web\n", "## Instances\n", "| total | 1 | 2.05 | 3 |", `| web a\|b &lt;i> |`} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("%q is not in\n%s", part, text.String())
		}
	}
}

// BenchmarkReport makes a report of 30 days on a service of 200 instances, and one of 90 days on an instance with 4,000
// events of its own. The time depends on the number of the service's own events: the others of the log are not read.
func BenchmarkReport(b *testing.B) {
	for _, c := range []struct {
		name           string
		instances, all int
		span           time.Duration
		q              queries.ReportQuery
	}{
		{"service", 200, 20_000, 30 * 24 * time.Hour, queries.ReportQuery{Service: "web"}},
		{"instance", 5, 20_000, 90 * 24 * time.Hour, queries.ReportQuery{Service: "web", Instance: "1"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := start(b)
			settle := r.withHistory()
			now := epoch
			r.store.Now = func() time.Time { return now }
			r.Now = func() time.Time { return epoch.Add(c.span) }
			for i := range c.all {
				now = epoch.Add(c.span * time.Duration(i) / time.Duration(c.all))
				k := eventstore.LifecycleStream(key("web", fmt.Sprint(i%c.instances)))
				switch {
				case i < c.instances:
					r.append(k, domain.InstanceRegistered{Epoch: 1, Details: versioned("eu", "1")})
				case i/c.instances%2 == 0:
					r.append(k, domain.HealthChanged{Epoch: 1, From: domain.Passing, To: domain.Warning, Source: domain.FromClient})
				default:
					r.append(k, domain.HealthChanged{Epoch: 1, From: domain.Warning, To: domain.Passing, Source: domain.FromClient})
				}
			}
			settle()
			c.q.Namespace, c.q.From = "default", epoch.Add(time.Second).Format(time.RFC3339)
			events := 0
			for b.Loop() {
				got, err := r.Report(context.Background(), c.q)
				if err != nil {
					b.Fatal(err)
				}
				events = got.Events
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
		})
	}
}
