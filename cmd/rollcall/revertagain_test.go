package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Where a first attempt may have been carried out, its repetition finds less to do, or nothing. That is not told as all that was done.
func TestARevertWhoseFirstAttemptGotNoAnswerSaysSo(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	const nothing = `{"dry_run":false,"position":"9","instances":0,"steps":[],"left_alone":[],"skipped":[]}`
	const changed = `{"dry_run":false,"position":"9","instances":0,"steps":[],"left_alone":[],"skipped":[{"namespace":"default","service":"web","id":"a","kind":"traffic","why":"changed","detail":"it changed since"}]}`
	for _, c := range []struct {
		reply string
		lost  bool // the first answer
		fails bool
	}{{nothing, false, false}, {nothing, true, false}, {changed, false, true}, {changed, true, true}} {
		var asked atomic.Int32
		node := func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 && c.lost {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
				}
				_ = conn.Close()
				return
			}
			w.Header().Set("Rollcall-Position", "9")
			_, _ = w.Write([]byte(c.reply))
		}
		a, b := httptest.NewServer(http.HandlerFunc(node)), httptest.NewServer(http.HandlerFunc(node))
		var errs bytes.Buffer
		command := root()
		command.SetArgs([]string{"revert", "--to", "3", "--all-or-nothing", "--url", a.URL + "," + b.URL})
		command.SetOut(t.Output())
		command.SetErr(&errs)
		err := command.ExecuteContext(t.Context())
		a.Close()
		b.Close()
		if err != nil && strings.Contains(err.Error(), "by the last attempt") != c.lost {
			t.Errorf("%v", err)
		}
		if said := strings.Contains(errs.String(), "A first attempt got no answer."); said != c.lost || (err != nil) != c.fails {
			t.Errorf("with %s, the first answer lost %t: %v, and it is said %q", c.reply, c.lost, err, errs.String())
		}
	}
}
