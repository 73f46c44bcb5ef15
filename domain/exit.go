package domain

import (
	"fmt"
	"strconv"
	"strings"
)

const exitWords = "exited with code "

// ExitReason is the reason with which an instance is deregistered whose process has ended by itself. signal is the signal
// that killed the process; 0: none did.
func ExitReason(code, signal int) string {
	words := exitWords + strconv.Itoa(code)
	if signal != 0 {
		words += fmt.Sprintf(", killed by signal %d", signal)
	}
	return words
}

// ExitCode is the exit code that an ExitReason has, whatever follows it. ok is false for every other reason, such as that of
// a process that was asked to end.
func ExitCode(reason string) (code int, ok bool) {
	rest, ok := strings.CutPrefix(reason, exitWords)
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ",")
	code, err := strconv.Atoi(digits)
	return code, err == nil
}
