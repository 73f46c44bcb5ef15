package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/queries/wire"
)

// A script drains a service and deregisters instances of it. The plan tells what would be done, the same command does it, and
// the history says why.
func TestAMistakeIsTakenBackFromTheCommandLine(t *testing.T) {
	p := startServer(t, t.TempDir())
	env := []string{"ROLLCALL_URL=" + p.url}
	do := func(want string, args ...string) string {
		t.Helper()
		out, errs, code := run(t, env, args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("%v gave %d, %s%s, without %q", args, code, out, errs, want)
		}
		return out
	}
	for _, id := range []string{"a-1", "a-2", "a-3"} {
		do("created", "register", "checkout/"+id, "--ns", "prod", "--address", "10.0.0.5", "--ttl", "1m")
	}
	do("created", "register", "checkout/b-1", "--ns", "prod", "--address", "10.0.0.6", "--ttl", "1s")
	moment := time.Now().UTC().Format(time.RFC3339Nano)
	do("", "drain", "checkout/a-1", "--ns", "prod", "--reason", "cleanup")
	do("", "drain", "checkout/a-2", "--ns", "prod", "--reason", "cleanup")
	do("", "deregister", "checkout/a-3", "--ns", "prod", "--reason", "cleanup")
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if out, _, _ := run(t, env, "why", "checkout/b-1", "--ns", "prod"); strings.Contains(out, "lease expired") {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the lease does not lapse")
		}
	}
	plan := []string{"revert", "--ns", "prod", "--service", "checkout", "--to", moment}
	out := do("2 instances: traffic draining -> serving", append(plan, "--dry-run")...)
	for _, want := range []string{
		`(by anonymous `, `reason "cleanup")`, "1 instance:  registered again", "(deregistered by anonymous at ",
		"1 instance:  left alone", "(lease lapsed at ", ": silent since ", "; --include-lapsed)", "Nothing is changed yet",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan lacks %q:\n%s", want, out)
		}
	}
	do("3 reverted.", append(plan, "--reason", "wrong namespace")...)
	do("0 reverted.", append(plan, "--reason", "wrong namespace")...)
	do("because: wrong namespace", "why", "checkout/a-3", "--ns", "prod")
	do("wrong namespace; this reverts event ", "history", "checkout/a-1", "--ns", "prod")

	var page wire.HistoryPage
	if err := json.Unmarshal([]byte(do("", "history", "checkout/a-3", "--ns", "prod", "-o", "json")), &page); err != nil {
		t.Fatal(err)
	}
	do("1 instance:  deregistered", "revert", "--event", page.Entries[0].EventID.String(), "--reason", "it was right after all") // a revert of the revert
	do("it was right after all", "why", "checkout/a-3", "--ns", "prod")
	if _, errs, code := run(t, env, "revert"); code != 2 || !strings.Contains(errs, "to is needed") {
		t.Errorf("without a word what to revert: %d %s", code, errs)
	}
}
