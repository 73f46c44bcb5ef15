package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

var (
	httpCheck   = domain.Check{ID: "http", Kind: domain.CheckHTTP, URL: "http://10.0.0.5:8080/health", Interval: domain.Duration(10 * time.Second)}
	workerCheck = domain.Check{ID: "worker", Kind: domain.CheckTTL, TTL: domain.Duration(15 * time.Second)}
	grpcCheck   = domain.Check{ID: "grpc", Kind: domain.CheckGRPC, Port: "grpc", GRPCService: "checkout.v1.Checkout"}
)

func withChecks(checks ...domain.Check) domain.Details {
	return domain.Details{
		Address: "10.0.0.5", Ports: map[string]uint16{"http": 8080, "grpc": 9090}, Weight: 100, TTL: domain.Duration(30 * time.Second), Checks: checks,
	}
}

// history folds the events of commands that must all be carried out. An event is recorded a second after the one before.
type history struct {
	t     *testing.T
	state domain.Instance
	now   time.Time
}

func begun(t *testing.T) *history {
	return &history{t, domain.Instance{Key: key}, time.Unix(1_000, 0).UTC()}
}

func (h *history) do(command domain.Command) []domain.Event {
	h.t.Helper()
	if err := command.Validate(); err != nil {
		h.t.Fatalf("%+v: %v", command, err)
	}
	events, err := domain.Decide(h.state, command)
	if err != nil {
		h.t.Fatalf("%+v: %v", command, err)
	}
	h.now = h.now.Add(time.Second)
	for _, e := range events {
		h.state = domain.Evolve(h.state, e, domain.Recorded{At: h.now})
	}
	return events
}

// does carries out a command that must lead to one event.
func (h *history) does(command domain.Command, want domain.Event) {
	h.t.Helper()
	if got := h.do(command); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		h.t.Fatalf("%+v led to %+v, want %+v", command, got, want)
	}
}

func (h *history) is(status domain.Status) {
	h.t.Helper()
	if h.state.Status != status {
		h.t.Fatalf("the instance is %s, want %s", h.state.Status, status)
	}
}

func report(id string, status domain.Status) domain.ReportCheck {
	return domain.ReportCheck{Key: key, Check: id, Status: status}
}

func (h *history) probe(id string, status domain.Status, output string) domain.ReportProbe {
	check, ok := h.state.Check(id)
	if !ok {
		h.t.Fatalf("there is no check %s", id)
	}
	return domain.ReportProbe{
		Key: key, Epoch: h.state.Epoch, Check: id, Revision: check.Revision, Status: status, Output: output, By: "n1", Latency: 12 * time.Millisecond,
	}
}

func TestAnInstanceIsTheWorstOfWhatItSaysAndItsChecks(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(httpCheck, workerCheck)})
	h.is(domain.Starting)
	h.do(report("worker", domain.Passing))
	h.is(domain.Starting)
	h.does(h.probe("http", domain.Passing, "200"), domain.CheckChanged{
		Epoch: 1, Check: "http", Kind: domain.CheckHTTP, From: domain.Starting, To: domain.Passing, Cause: domain.CheckProbed, Output: "200", By: "n1",
		Latency: domain.Duration(12 * time.Millisecond), Status: domain.Passing, PreviousStatus: domain.Starting,
	})
	h.is(domain.Passing)
	h.do(domain.ReportHealth{Key: key, Status: domain.Warning, Source: domain.FromClient})
	h.is(domain.Warning)
	h.do(h.probe("http", domain.Critical, "503"))
	h.is(domain.Critical)
	h.does(domain.ReportHealth{Key: key, Status: domain.Passing, Source: domain.FromClient},
		domain.HealthChanged{Epoch: 1, From: domain.Critical, To: domain.Critical, Reported: domain.Passing, Source: domain.FromClient})
	h.does(domain.RemoveCheck{Key: key, Check: "http"},
		domain.CheckRemoved{Epoch: 1, Check: "http", Status: domain.Passing, PreviousStatus: domain.Critical})
	h.is(domain.Passing)
	h.do(domain.RemoveCheck{Key: key, Check: "worker"})
	if h.state.Checks != nil || h.state.Reported != "" || h.state.Details.Checks != nil {
		t.Errorf("without checks the state is %+v", h.state)
	}
}

func TestARepeatedPassOnlyRenewsTheCheck(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(workerCheck)})
	h.do(report("worker", domain.Passing))
	h.does(report("worker", domain.Passing), domain.HeartbeatReceived{Epoch: 1, Check: "worker"})
	h.does(report("worker", domain.Critical), domain.CheckChanged{
		Epoch: 1, Check: "worker", Kind: domain.CheckTTL, From: domain.Passing, To: domain.Critical, Cause: domain.CheckReported, Status: domain.Critical, PreviousStatus: domain.Passing,
	})
	h.does(report("worker", domain.Critical), domain.HeartbeatReceived{Epoch: 1, Check: "worker"})
}

func TestATTLCheckLapsesToCriticalOnce(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(workerCheck)})
	last := time.Unix(1, 0).UTC()
	lapse := domain.LapseCheck{Key: key, Epoch: 1, Check: "worker", Last: last}
	h.does(lapse, domain.CheckChanged{
		Epoch: 1, Check: "worker", Kind: domain.CheckTTL, From: domain.Starting, To: domain.Critical, Cause: domain.CheckLapsed, Output: "TTL expired", TTL: workerCheck.TTL, Last: last,
		Status: domain.Critical, PreviousStatus: domain.Starting,
	})
	if events := h.do(lapse); len(events) > 0 {
		t.Errorf("lapsed again: %+v", events)
	}
	h.do(report("worker", domain.Warning))
	h.is(domain.Warning)
}

func TestALeaseThatLapsesToCriticalGivesBackWhatTheInstanceSaid(t *testing.T) {
	for name, back := range map[string]domain.Command{
		"a heartbeat":    domain.SendHeartbeat{Key: key},
		"a registration": domain.RegisterInstance{Key: key, Details: lapsing(0)},
	} {
		t.Run(name, func(t *testing.T) {
			h := begun(t)
			h.do(domain.RegisterInstance{Key: key, Details: lapsing(0)})
			h.do(domain.ReportHealth{Key: key, Status: domain.Warning, Source: domain.FromClient})
			h.does(domain.ExpireLease{Key: key, Epoch: 1}, domain.HealthChanged{
				Epoch: 1, From: domain.Warning, To: domain.Critical, Reported: domain.Warning, Source: domain.FromLease, Lapsed: true, TTL: domain.Duration(30 * time.Second),
			})
			h.is(domain.Critical)
			if again := h.do(domain.ExpireLease{Key: key, Epoch: 1}); len(again) > 0 {
				t.Errorf("lapsed again: %+v", again)
			}
			h.does(back, domain.HealthChanged{Epoch: 1, From: domain.Critical, To: domain.Warning, Source: domain.FromLease})
			if h.state.Reported != "" || !h.state.Lapsed.IsZero() {
				t.Errorf("afterwards the state is %+v", h.state)
			}
			h.does(back, domain.HeartbeatReceived{Epoch: 1})
		})
	}
}

func lapsing(removeAfter time.Duration, checks ...domain.Check) domain.Details {
	d := withChecks(checks...)
	d.OnLapse, d.RemoveAfter = domain.LapseCritical, domain.Duration(removeAfter)
	return d
}

func TestAnInstanceIsRemovedForWhatIsStillCritical(t *testing.T) {
	h := begun(t)
	check := workerCheck
	check.RemoveAfter = domain.Duration(time.Minute)
	h.do(domain.RegisterInstance{Key: key, Details: lapsing(10*time.Minute, check)})
	h.do(domain.ExpireLease{Key: key, Epoch: 1})
	since := h.state.Lapsed
	h.do(domain.SendHeartbeat{Key: key})
	if events := h.do(domain.RemoveCritical{Key: key, Epoch: 1, Since: since}); len(events) > 0 {
		t.Errorf("removed after it was heard again: %+v", events)
	}
	h.do(domain.ExpireLease{Key: key, Epoch: 1})
	removed, err := domain.Decide(h.state, domain.RemoveCritical{Key: key, Epoch: 1, Since: h.state.Lapsed, Late: time.Second})
	if want := (domain.LeaseExpired{Epoch: 1, TTL: domain.Duration(30 * time.Second), Late: domain.Duration(time.Second), CriticalSince: h.state.Lapsed, RemoveAfter: domain.Duration(10 * time.Minute)}); err != nil || removed[0] != domain.Event(want) {
		t.Errorf("removed by %+v, %v", removed, err)
	}
	h.do(report("worker", domain.Critical))
	at, _ := h.state.Check("worker")
	h.does(domain.RemoveCritical{Key: key, Epoch: 1, Check: "worker", Since: at.Since}, domain.InstanceDeregistered{
		Epoch: 1, Reason: "check worker stayed critical", Check: "worker", CriticalSince: at.Since, RemoveAfter: check.RemoveAfter,
	})
}

func TestAnUpdateKeepsTheStatesOfChecksThatAskTheSame(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(httpCheck, workerCheck, grpcCheck)})
	for _, id := range []string{"http", "grpc"} {
		h.do(h.probe(id, domain.Passing, ""))
	}
	h.do(report("worker", domain.Passing))
	slower, other := httpCheck, grpcCheck
	slower.Interval, other.GRPCService = domain.Duration(time.Minute), "other"
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(other, slower, workerCheck)})
	var got []string
	for _, c := range h.state.Checks {
		got = append(got, c.ID+" "+string(c.Status))
	}
	if want := "grpc starting, http passing, worker passing"; strings.Join(got, ", ") != want {
		t.Errorf("the checks are %s, want %s", strings.Join(got, ", "), want)
	}
	if h.state.Checks[1].Revision != 4 || h.state.Checks[2].Revision != 0 {
		t.Errorf("a changed definition and one that stayed have revisions %d and %d", h.state.Checks[1].Revision, h.state.Checks[2].Revision)
	}
	stale := domain.ReportProbe{Key: key, Epoch: 1, Check: "http", Revision: 0, Status: domain.Critical, By: "n1"}
	if _, err := domain.Decide(h.state, stale); err != (domain.StaleCheck{Key: key, Check: "http", Revision: 0, Live: 4}) {
		t.Errorf("a result of the old definition gives %v", err)
	}
}

func TestARegistrationWithoutChecksKeepsThem(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks()})
	h.do(domain.AddCheck{Key: key, Check: httpCheck})
	if events := h.do(domain.AddCheck{Key: key, Check: httpCheck}); len(events) > 0 {
		t.Errorf("the same check is added again: %+v", events)
	}
	h.does(domain.RegisterInstance{Key: key, Details: withChecks()}, domain.HeartbeatReceived{Epoch: 1})
	d := withChecks()
	d.Checks = []domain.Check{}
	if e := h.do(domain.RegisterInstance{Key: key, Details: d})[0].(domain.InstanceUpdated); !reflect.DeepEqual(e.Changed, []string{"status", "checks"}) {
		t.Errorf("removing all checks changes %v", e.Changed)
	}
	h.is(domain.Passing)
	d = withChecks(grpcCheck)
	h.do(domain.RegisterInstance{Key: key, Details: d})
	d.Ports, d.Checks = nil, nil
	if _, err := domain.Decide(h.state, domain.RegisterInstance{Key: key, Details: d}); err != nil {
		t.Errorf("an update without the port of a check gives %v", err)
	}
}

func isField(err error, field string) bool {
	var invalid domain.InvalidField
	return errors.As(err, &invalid) && invalid.Field == field
}

func TestACheckIsHeldToTheLimitsByField(t *testing.T) {
	long := strings.Repeat("x", 5000)
	second := domain.Duration(time.Second)
	for name, c := range map[string]struct {
		change func(*domain.Check)
		field  string
	}{
		"no id":                   {func(c *domain.Check) { c.ID = "" }, "id"},
		"an id of dots":           {func(c *domain.Check) { c.ID = ".." }, "id"},
		"unknown kind":            {func(c *domain.Check) { c.Kind = "icmp" }, "kind"},
		"no kind":                 {func(c *domain.Check) { c.Kind = "" }, "kind"},
		"long name":               {func(c *domain.Check) { c.Name = long }, "name"},
		"long notes":              {func(c *domain.Check) { c.Notes = long }, "notes"},
		"no url":                  {func(c *domain.Check) { c.URL = "" }, "url"},
		"a url without a scheme":  {func(c *domain.Check) { c.URL = "10.0.0.5/x" }, "url"},
		"a url of another scheme": {func(c *domain.Check) { c.URL = "ftp://10.0.0.5/x" }, "url"},
		"a url without a host":    {func(c *domain.Check) { c.URL = "http:///x" }, "url"},
		"a url with a password":   {func(c *domain.Check) { c.URL = "http://a:b@10.0.0.5/x" }, "url"},
		"a url with a fragment":   {func(c *domain.Check) { c.URL = "http://10.0.0.5/x#y" }, "url"},
		"a url with port 0":       {func(c *domain.Check) { c.URL = "http://10.0.0.5:0/x" }, "url"},
		"a url to everywhere":     {func(c *domain.Check) { c.URL = "http://0.0.0.0/x" }, "url"},
		"a long url":              {func(c *domain.Check) { c.URL = "http://a/" + long }, "url"},
		"a method in lower case":  {func(c *domain.Check) { c.Method = "get" }, "method"},
		"a method of two words":   {func(c *domain.Check) { c.Method = "GET /" }, "method"},
		"a header of two lines":   {func(c *domain.Check) { c.Headers = map[string]string{"X": "a\r\nB: c"} }, "headers.X"},
		"a header with a space":   {func(c *domain.Check) { c.Headers = map[string]string{"X Y": "a"} }, "headers"},
		"a long header":           {func(c *domain.Check) { c.Headers = map[string]string{"X": long} }, "headers.X"},
		"a header named twice":    {func(c *domain.Check) { c.Headers = map[string]string{"Host": "a", "host": "b"} }, "headers.host"},
		"a long body":             {func(c *domain.Check) { c.Body = long }, "body"},
		"status 99":               {func(c *domain.Check) { c.ExpectedStatuses = []domain.StatusRange{{From: 99, To: 200}} }, "expected_statuses[0]"},
		"statuses that go down":   {func(c *domain.Check) { c.ExpectedStatuses = []domain.StatusRange{{From: 300, To: 200}} }, "expected_statuses[0]"},
		"warning status 600":      {func(c *domain.Check) { c.WarningStatuses = []domain.StatusRange{{From: 429, To: 600}} }, "warning_statuses[0]"},
		"a fast interval":         {func(c *domain.Check) { c.Interval = second - 1 }, "interval"},
		"a slow interval":         {func(c *domain.Check) { c.Interval = domain.Duration(time.Hour + 1) }, "interval"},
		"a negative interval":     {func(c *domain.Check) { c.Interval = -second }, "interval"},
		"timeout over interval":   {func(c *domain.Check) { c.Interval, c.Timeout = second, second+1 }, "timeout"},
		"a negative timeout":      {func(c *domain.Check) { c.Timeout = -second }, "timeout"},
		"too many failures":       {func(c *domain.Check) { c.Failures = 101 }, "failures"},
		"negative successes":      {func(c *domain.Check) { c.Successes = -1 }, "successes"},
		"a fast removal":          {func(c *domain.Check) { c.RemoveAfter = second - 1 }, "remove_after"},
		"a port of a url":         {func(c *domain.Check) { c.Port = "http" }, "port"},
		"a ttl of a url":          {func(c *domain.Check) { c.TTL = second }, "ttl"},
		"tls of a url":            {func(c *domain.Check) { c.TLS = true }, "tls"},
		"a TLS name without TLS":  {func(c *domain.Check) { c.TLSServerName = "a" }, "tls_server_name"},
		"no verification of none": {func(c *domain.Check) { c.TLSSkipVerify = true }, "tls_skip_verify"},
		"an unknown status":       {func(c *domain.Check) { c.InitialStatus = "fine" }, "initial_status"},
		"a port with a space":     {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckTCP, Port: "p g"} }, "port"},
		"a port and a target":     {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckTCP, Port: "http", Target: "a:1"} }, "target"},
		"no port and no target":   {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckGRPC} }, "port"},
		"a target without a port": {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckTCP, Target: "10.0.0.5"} }, "target"},
		"a target of port 70000":  {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckTCP, Target: "10.0.0.5:70000"} }, "target"},
		"a target ::1:80":         {func(c *domain.Check) { *c = domain.Check{ID: "a", Kind: domain.CheckTCP, Target: "::1:80"} }, "target"},
		"a url of tcp":            {func(c *domain.Check) { c.Kind, c.Target = domain.CheckTCP, "10.0.0.5:1" }, "url"},
		"a grpc service of tcp": {func(c *domain.Check) {
			*c = domain.Check{ID: "a", Kind: domain.CheckTCP, Port: "http", GRPCService: "x"}
		}, "grpc_service"},
		"a grpc service of two lines": {func(c *domain.Check) {
			*c = domain.Check{ID: "a", Kind: domain.CheckGRPC, Port: "http", GRPCService: "a\nb"}
		}, "grpc_service"},
		"an interval of ttl": {func(c *domain.Check) { *c = workerCheck; c.Interval = second }, "interval"},
		"failures of ttl":    {func(c *domain.Check) { *c = workerCheck; c.Failures = 2 }, "failures"},
		"no ttl":             {func(c *domain.Check) { *c = workerCheck; c.TTL = 0 }, "ttl"},
		"ttl none":           {func(c *domain.Check) { *c = workerCheck; c.TTL = domain.NoTTL }, "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			check := httpCheck
			c.change(&check)
			if err := withChecks(workerCheckAs("first"), check).Validate(); !isField(err, "checks[1]."+c.field) {
				t.Errorf("a registration is refused with %v, want checks[1].%s", err, c.field)
			}
			h := begun(t)
			h.do(domain.RegisterInstance{Key: key, Details: withChecks()})
			add := domain.AddCheck{Key: key, Check: check}
			err := add.Validate()
			if err == nil {
				_, err = domain.Decide(h.state, add)
			}
			if !isField(err, c.field) {
				t.Errorf("the check is refused with %v, want %s", err, c.field)
			}
		})
	}
}

func workerCheckAs(id string) domain.Check {
	c := workerCheck
	c.ID = id
	return c
}

func TestLeasesAndChecksThatContradictAreRefusedByField(t *testing.T) {
	many := make([]domain.Check, domain.MaxChecks+1)
	for i := range many {
		many[i] = workerCheckAs(strings.Repeat("x", i+1))
	}
	large := make([]domain.Check, domain.MaxChecks)
	for i := range large {
		large[i] = httpCheck
		large[i].ID, large[i].Body = strings.Repeat("x", i+1), strings.Repeat("x", domain.MaxCheckBody)
	}
	for field, d := range map[string]domain.Details{
		"checks[1].id": withChecks(workerCheck, workerCheck),
		"checks":       withChecks(many...),
		"on_lapse":     {Address: "a", TTL: domain.NoTTL, OnLapse: domain.LapseCritical},
		"remove_after": {Address: "a", TTL: domain.Duration(time.Minute), RemoveAfter: domain.Duration(time.Minute)},
		"ttl":          {Address: "a", TTL: -1},
	} {
		if err := d.Validate(); !isField(err, field) {
			t.Errorf("%s: refused with %v", field, err)
		}
	}
	if err := withChecks(large...).Validate(); !isField(err, "checks") {
		t.Errorf("texts over the limit are refused with %v", err)
	}
	if err := withChecks(many[:domain.MaxChecks]...).Validate(); err != nil {
		t.Error(err)
	}
}

func TestOutputIsCleaned(t *testing.T) {
	for in, want := range map[string]string{
		"fine":                          "fine",
		"a\x00b\x1b[31mc\u009b\x7fd":    "ab[31mcd",
		"two\nlines\tand":               "two\nlines\tand",
		"a\u202eb\u2066c\u2069\u2028d":  "abcd",
		"\u05d0 and \u200f":             "\u05d0 and \u200f",
		"bad \xff utf":                  "bad \uFFFD utf",
		strings.Repeat("ü", 3000):       strings.Repeat("ü", 2048),
		"x" + strings.Repeat("ü", 3000): "x" + strings.Repeat("ü", 2047),
	} {
		if got := domain.CleanOutput(in); got != want {
			t.Errorf("%.20q became %.40q of %d bytes, want %d", in, got, len(got), len(want))
		}
	}
}

func TestACheckFlapsWhenItChangesOften(t *testing.T) {
	h := begun(t)
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(workerCheck)})
	status := domain.Passing
	for i := range domain.FlappingChanges {
		c, _ := h.state.Check("worker")
		if c.Flapping(h.now) {
			t.Fatalf("flapping after %d changes", i)
		}
		h.do(report("worker", status))
		status = map[domain.Status]domain.Status{domain.Passing: domain.Critical, domain.Critical: domain.Passing}[status]
	}
	c, _ := h.state.Check("worker")
	if !c.Flapping(h.now) || c.Flapping(h.now.Add(domain.FlappingWithin)) {
		t.Errorf("flapping: %v, and later %v", c.Flapping(h.now), c.Flapping(h.now.Add(domain.FlappingWithin)))
	}
}

func TestACheckOfAnInstanceThatIsGoneIsRefused(t *testing.T) {
	h := begun(t)
	commands := []domain.Command{
		domain.AddCheck{Key: key, Check: httpCheck}, domain.RemoveCheck{Key: key, Check: "worker"}, report("worker", domain.Passing),
		domain.ReportProbe{Key: key, Epoch: 1, Check: "http", Status: domain.Passing, By: "n1"},
	}
	for _, c := range commands {
		if _, err := domain.Decide(h.state, c); err != (domain.UnknownInstance{Key: key}) {
			t.Errorf("%T of an unknown instance gives %v", c, err)
		}
	}
	h.do(domain.RegisterInstance{Key: key, Details: withChecks(workerCheck)})
	if _, err := domain.Decide(h.state, report("http", domain.Passing)); err != (domain.UnknownCheck{Key: key, Check: "http"}) {
		t.Errorf("an unknown check gives %v", err)
	}
	if _, err := domain.Decide(h.state, domain.ReportCheck{Key: key, Epoch: 7, Check: "worker", Status: domain.Passing}); err != (domain.StaleEpoch{Key: key, Epoch: 7, Live: 1}) {
		t.Errorf("another epoch gives %v", err)
	}
	h.do(domain.ExpireLease{Key: key, Epoch: 1})
	for _, c := range commands {
		if _, err := domain.Decide(h.state, c); err != (domain.LeaseLapsed{Key: key}) {
			t.Errorf("%T of an expired instance gives %v", c, err)
		}
	}
}

func TestACheckChangesAfterResultsInARow(t *testing.T) {
	check := domain.Check{Failures: 2, Successes: 3}
	var s domain.Streak
	got := ""
	for _, result := range []domain.Status{domain.Critical, domain.Passing, domain.Critical, domain.Critical, domain.Critical, domain.Warning, domain.Passing, domain.Passing} {
		var decided bool
		s, decided = s.After(check, result)
		got += map[bool]string{true: "x", false: "."}[decided]
	}
	if want := "...xx..x"; got != want {
		t.Errorf("decided %s, want %s", got, want)
	}
	if _, decided := (domain.Streak{}).After(domain.Check{}, domain.Critical); !decided {
		t.Error("without thresholds one result does not count")
	}
}

func TestStatusesAreReadFromNumbersAndTexts(t *testing.T) {
	for text, want := range map[string]string{
		`[200,"204","300-399"]`: "[{200 200} {204 204} {300 399}]",
		`["2xx"]`:               "[{0 0}]", // Validate refuses it, and knows which check has it
		`[true,{},-1,2e2]`:      "[{0 0} {0 0} {0 0} {0 0}]",
	} {
		var ranges []domain.StatusRange
		if err := json.Unmarshal([]byte(text), &ranges); err != nil || fmt.Sprint(ranges) != want {
			t.Errorf("%s: %v %v, want %s", text, ranges, err, want)
		}
		c := domain.Check{ID: "a", Kind: domain.CheckHTTP, URL: "http://10.0.0.5/", ExpectedStatuses: ranges}.Normalize()
		if err := c.Validate("checks[0]."); (err == nil) != (text[1] == '2') {
			t.Errorf("%s: %v", text, err)
		}
	}
}
