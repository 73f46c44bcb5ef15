package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A week's report, told in a minute: instances come and go by the real binary, one of them by a crash of its process.
func TestAReportByTheRealBinaryCountsACrash(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	p := startServer(t, t.TempDir())
	run := func(args ...string) string {
		t.Helper()
		out, err := rollcall(append(args, "--url", p.url)...)
		if err != nil {
			t.Fatalf("rollcall %v: %v\n%s", args, err, out)
		}
		return out
	}
	run("register", "job/steady", "--address", "10.0.0.5", "--ttl", "1h", "--version", "1")
	crash := supervise(t, p, "crash", "sleep 0.3; kill -9 $$")
	<-crash.done

	var r wire.Report
	if err := json.Unmarshal([]byte(run("report", "service", "job", "--from", "1h ago", "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Churn.Registered != 2 || r.Churn.Crashed != 1 || r.Churn.ExitCodes[137] != 1 || r.Deaths.Waiting != 1 || r.Total.Registered.Max != 2 {
		t.Errorf("the report is %+v", r)
	}
	if r.Total.Registered.Min != 1 || len(r.Notes) != 1 {
		t.Errorf("the report begins before the first event: %+v", r)
	}
	for _, c := range []struct{ output, part string }{
		{"table", "\ncrashed with exit code 137  1\n"}, {"csv", "counts,crashed with exit code 137,count,1\r\n"}, {"markdown", "| crashed with exit code 137 | 1 |"}, {"yaml", "exit_codes:\n    \"137\": 1\n"},
	} {
		if out := run("report", "instance", "job/crash", "--from", "1", "-o", c.output); !strings.Contains(out, c.part) {
			t.Errorf("-o %s has no %q:\n%s", c.output, c.part, out)
		}
	}
	if out := run("report", "namespace", "default", "--from", "yesterday"); !strings.Contains(out, "service:default/job") {
		t.Errorf("the report on the namespace is\n%s", out)
	}
	for _, c := range []struct{ args, part string }{
		{"timeline job --from 1", "\nINSTANCE  FROM"},
		{"timeline job/steady --from 1 -o csv", ",1,passing,serving,yes,,1,,,,\r\n"},
		{"timeline job --from 1 -o markdown", "# Timeline of default/job\n"},
		{"timeline job/crash --from 1 -o json", `"lanes":[{"id":"crash","intervals":[`},
		{"histogram --from 1 --service job --buckets 1", "\n3 events from "},
		{"histogram --from 1 --buckets 2 --type InstanceRegistered -o csv", "from,to,InstanceRegistered,total\r\n"},
		{"histogram --from 1 -o json", `"InstanceRegistered":[`},
	} {
		if out := run(strings.Fields(c.args)...); !strings.Contains(out, c.part) {
			t.Errorf("rollcall %s has no %q:\n%s", c.args, c.part, out)
		}
	}
	for _, c := range []struct {
		args string
		code int
		part string
	}{
		{"timeline job", exitUsage, "--from is needed"},
		{"timeline job --from 1 --limit 0", exitUsage, "--limit must be at least 1"},
		{"timeline job/never --from 1", exitNotFound, "never"},
		{"timeline job --from 1 --to 2100-01-01", exitUsage, "to must"},
		{"histogram", exitUsage, "--from is needed"},
		{"histogram --from 1 --buckets 0", exitUsage, "--buckets must be"},
		{"histogram --from 1 --type Nothing", exitUsage, "type must be one of"},
		{"histogram --from 1 --service never", exitNotFound, "never"},
		{"report service job", exitUsage, "--from is needed"},
		{"report service job --from 1 --below 0", exitUsage, "--below must be at least 1"},
		{"report service job --from now --to 1", exitUsage, "from must be before to"},
		{"report service never --from 1", exitNotFound, "never"},
		{"report instance job/never --from 1", exitNotFound, "never"},
		{"report namespace never --from 1", exitUsage, "namespace must be a namespace that had an instance"},
		{"report service job --from 1 -o name", exitUsage, "lists nothing"},
		{"services -o csv", exitUsage, "only reports, timelines and histograms have"},
	} {
		if out, err := rollcall(append(strings.Fields(c.args), "--url", p.url)...); exitCode(err) != c.code || !strings.Contains(err.Error(), c.part) {
			t.Errorf("rollcall %s: %v, exit code %d\n%s", c.args, err, exitCode(err), out)
		}
	}
}
