package domain_test

import (
	"testing"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestTheExitCodeIsReadFromTheReasonOfAProcessThatEndedByItself(t *testing.T) {
	for reason, want := range map[string]int{
		domain.ExitReason(3, 0): 3, domain.ExitReason(137, 9): 137, domain.ExitReason(0, 0): 0,
		"exited with code 1, is started again": 1, "exited with code x": -1, "exited with code ": -1, "": -1,
		"stopped by signal 15, exited with code 143, killed by signal 15": -1, "scaled down": -1,
	} {
		code, ok := domain.ExitCode(reason)
		if ok != (want >= 0) || ok && code != want {
			t.Errorf("%q has exit code %d, %t; want %d", reason, code, ok, want)
		}
	}
	if got := domain.ExitReason(137, 9); got != "exited with code 137, killed by signal 9" {
		t.Error(got)
	}
}
