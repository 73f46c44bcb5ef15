package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// jobs is the job control of a program that has a terminal for itself: the program gives the terminal back before it is
// stopped, and takes it again when it goes on. A terminal in raw mode sends no signal for Ctrl-Z.
type jobs struct {
	stop      chan os.Signal // SIGTSTP; a second one that is not read yet is dropped
	continued chan os.Signal // SIGCONT, in the same way
}

func watchJobs() *jobs {
	j := &jobs{stop: make(chan os.Signal, 1), continued: make(chan os.Signal, 1)}
	signal.Notify(j.stop, syscall.SIGTSTP)
	signal.Notify(j.continued, syscall.SIGCONT)
	return j
}

func (j *jobs) end() {
	signal.Stop(j.stop)
	signal.Stop(j.continued)
}

// ask stops the programs that the terminal's user sees as one, as Ctrl-Z does by itself. This one gets the signal, too. Where
// no shell could continue them, nothing is stopped.
func (j *jobs) ask() {
	if continuable() {
		_ = syscall.Kill(0, syscall.SIGTSTP)
	}
}

// continuable says whether a shell with job control started the process: the shell leads the session, and gave the process
// another group than its own.
func continuable() bool {
	session, err := unix.Getsid(0)
	if err != nil || session == unix.Getpgrp() {
		return false
	}
	of, err := unix.Getsid(os.Getppid())
	return err == nil && of == session
}

// stopsWithin is how long a signal takes that stops a process at most.
const stopsWithin = 200 * time.Millisecond

// pause stops the process until it is continued. Go keeps its own handler of SIGTSTP once it was asked for, so the signal
// that stops is SIGSTOP.
func (j *jobs) pause() {
	select {
	case <-j.continued: // of an earlier stop
	default:
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	select {
	case <-j.continued:
	case <-time.After(stopsWithin): // SIGCONT came before
	}
}
