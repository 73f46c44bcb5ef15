package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// says runs a command line and wants each text in what it prints, an error too.
func (p *process) says(t *testing.T, line string, wants ...string) {
	t.Helper()
	out, err := rollcall(append(strings.Split(line, " "), "--url", p.url)...)
	if err != nil {
		out += err.Error()
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("rollcall %s says:\n%s\nwant: %s", line, out, want)
		}
	}
}

func TestTheStoryOfAChecksLife(t *testing.T) {
	p := startServer(t, t.TempDir(), "--probes", "off", "--probe-allow", "10.0.0.0/8")
	p.says(t, "register web/a --address 10.0.0.5 --ttl none --check id=worker,kind=ttl,ttl=5s,remove_after=1s --check id=job,kind=ttl,ttl=1h", "default/web/a", "(epoch 1, revision 0")
	p.says(t, "check pass web/a job", "check job passes (epoch 1, revision 1")
	p.says(t, "check pass web/a job", "(epoch 1, revision 1")
	p.says(t, "check warn web/a job --note slow", "check job warns (epoch 1, revision 2")
	p.says(t, "checks web/a", "worker", "starting", "job", "warning", "slow")
	p.says(t, "checks web --status warning", "job")
	p.says(t, "check add web/a id=db,kind=tcp,target=10.0.0.6:5432", "has check db")
	p.says(t, "check remove web/a db", "has no check db any more")
	p.says(t, "check fail web/a none", "has no check")
	p.says(t, "check add web/a id=db,kind=tcp,path=x", "path is not a known field")
	for range domain.FlappingChanges/2 + 1 {
		p.says(t, "check fail web/a job", "fails")
		p.says(t, "check pass web/a job", "passes")
	}
	p.says(t, "checks web/a", "flapping")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if out, _ := rollcall("why", "web/a", "--url", p.url); strings.Contains(out, "is gone") {
			break
		}
	}
	p.says(t, "why web/a", "is gone: it was removed at", "Why:  check worker was critical since", "Check job is flapping", "because a check stayed critical", "check worker went critical: no report came since it was defined")
	p.says(t, "check pass web/a job", "was deregistered")
}
