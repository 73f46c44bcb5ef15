package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/rollcall-registry/rollcall/adapters/agent"
	"github.com/rollcall-registry/rollcall/adapters/client"
	"github.com/rollcall-registry/rollcall/domain"
)

// childExit ends rollcall with the exit code of the process that it ran.
type childExit int

func (e childExit) Error() string { return fmt.Sprintf("exited with code %d", int(e)) }

// Exit codes of a process that could not be started, as shells have them.
const (
	exitCannotRun = 126
	exitNoCommand = 127
	exitSignal    = 128 // plus the signal
)

// forwarded are the signals that go to the process as they are.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}

// runner runs a process and keeps it registered while it runs.
type runner struct {
	remote      *client.Client
	key         domain.Key
	details     domain.Details
	owner       string // before the value of each start; "": there is nothing before it
	checks      []domain.Check
	look        agent.Look
	command     []string
	drain       time.Duration
	stopTimeout time.Duration
	restart     string // no, on-failure or always
	say         func(format string, arguments ...any)
	in          io.Reader
	out, err    io.Writer
}

func runCommand(remote *commandLine) *cobra.Command {
	var service, id, restart string
	var checks []string
	var spec instanceFlags
	var interval, timeout time.Duration
	r := runner{}
	c := &cobra.Command{
		Use:   "run --service SERVICE [--port NAME=PORT] [--check CHECK] -- COMMAND [ARGUMENT...]",
		Short: "Run a process, and keep it registered while it runs",
		Long: "Run starts a process and registers it: at once, or with --check when the check passes. It renews the lease, reports\n" +
			"what the check says, and passes signals on. SIGINT and SIGTERM drain the instance first. When the process has ended,\n" +
			"run deregisters the instance with the reason (\"exited with code 3\"), and exits with the code of the process, or with\n" +
			"128 and the number of the signal that killed it.",
		Example: "  rollcall run --service checkout --port http=8080 --check /healthz --drain 5s -- ./server --listen :8080",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // a command, and what it takes: shells complete files
		},
	}
	f := c.Flags()
	f.StringVar(&service, "service", "", "service of the instance; needed")
	f.StringVar(&id, "id", "", "id of the instance; left out, it is made of the host's name and the process id of this command")
	spec.flags(f)
	f.StringVar(&r.owner, "owner", "", "begins the owner of the registration, to which each start adds a value of its own. With a token for its own instances: the token's name")
	f.StringArrayVar(&checks, "check", nil, "/path, http://…, tcp://host:port or grpc://host:port/service; may be given again: the worst counts")
	f.DurationVar(&interval, "check-interval", 5*time.Second, "from one look of a check to the next")
	f.DurationVar(&timeout, "check-timeout", 0, "how long a look may take; 0: as long as the interval, at most 2s")
	f.DurationVar(&r.drain, "drain", 0, "how long the instance drains before the process is stopped")
	f.DurationVar(&r.stopTimeout, "stop-timeout", 10*time.Second, "how long the process may take to end before it is killed")
	f.StringVar(&restart, "restart", "no", "no, on-failure or always: whether the process is started again when it has ended")
	f.SetInterspersed(false)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if restart != "no" && restart != "on-failure" && restart != "always" {
			return usageError{fmt.Errorf("--restart must be no, on-failure or always, not %q", restart)}
		}
		if service == "" {
			return usageError{errors.New("--service is needed")}
		}
		if err := errors.Join(needsFlag(c, "check-interval", "check"), needsFlag(c, "check-timeout", "check")); err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		r.key = domain.Key{Namespace: remote.namespace, Service: service, ID: cmp.Or(id, fmt.Sprintf("%s-%d", host, os.Getpid()))}
		if r.details, err = spec.details(); err != nil {
			return usageError{err}
		}
		for n, text := range checks {
			check, err := parseCheck(text, r.details, interval, timeout)
			if err != nil {
				return usageError{err}
			}
			if len(checks) > 1 {
				check.ID = fmt.Sprint("check-", n+1)
			}
			check = check.Normalize()
			if err := check.Validate("check."); err != nil {
				return usageError{err}
			}
			r.checks = append(r.checks, check)
		}
		if err := (domain.RegisterInstance{Key: r.key, Owner: r.owner, Details: r.details}).Validate(); err != nil {
			return usageError{err}
		}
		if r.remote, err = remote.client(); err != nil {
			return err
		}
		var done func()
		r.look, done = localLook()
		defer done()
		r.command, r.restart, r.in, r.out, r.err = args, restart, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
		if file := fileOf(r.out); file != nil {
			r.out = file // the process has the file itself, not a pipe
		}
		r.say = func(format string, arguments ...any) { fmt.Fprintf(r.err, "rollcall: "+format+"\n", arguments...) }
		return r.run()
	}
	return printsWords(c, "its output is that of the process")
}

// run runs the process, and again if it is to be restarted. The error is a childExit if the process ran.
func (r *runner) run() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, append(forwarded, syscall.SIGINT, syscall.SIGTERM)...)
	defer signal.Stop(signals)
	pause := firstRestart
	for {
		began := time.Now()
		code, stopped, err := r.once(signals)
		switch {
		case err != nil:
			return err
		case stopped, r.restart == "no", r.restart == "on-failure" && code == 0:
			return childExit(code)
		}
		if time.Since(began) > maxRestart {
			pause = firstRestart
		}
		r.say("%s is started again in %v", r.command[0], pause)
		select {
		case s := <-signals:
			if s == syscall.SIGINT || s == syscall.SIGTERM {
				return childExit(code)
			}
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRestart)
	}
}

// Pauses before a process is started again.
const (
	firstRestart = time.Second
	maxRestart   = 30 * time.Second
)

// once runs the process once. stopped says that a signal asked for the end.
func (r *runner) once(signals <-chan os.Signal) (code int, stopped bool, err error) {
	child := exec.Command(r.command[0], r.command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = r.in, r.out, r.err
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C must not reach it before it has drained
	if err := child.Start(); err != nil {
		r.say("%v", err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return 0, false, childExit(exitNoCommand)
		}
		return 0, false, childExit(exitCannotRun)
	}
	ended := make(chan struct{})
	go func() {
		_ = child.Wait() // ProcessState says how it ended
		close(ended)
	}()
	registration := r.register()
	stop := r.await(child.Process, registration, signals, ended)
	words := exitWords(child.ProcessState)
	if stop != 0 {
		words = fmt.Sprintf("stopped by signal %d, %s", int(stop), words)
	} else if code := exitStatus(child.ProcessState); r.restart == "always" || r.restart == "on-failure" && code != 0 {
		words += ", is started again"
	}
	r.say("%s %s", r.command[0], words)
	registration.end(words)
	return exitStatus(child.ProcessState), stop != 0, nil
}

// await waits until the process has ended, passes signals on, and stops the process when it is asked to. It gives the
// signal that asked for that; 0: none did.
func (r *runner) await(child *os.Process, registration *registration, signals <-chan os.Signal, ended <-chan struct{}) (stop syscall.Signal) {
	var drained, kill <-chan time.Time
	for {
		select {
		case <-ended:
			return stop
		case s := <-signals:
			sig := s.(syscall.Signal)
			switch {
			case sig != syscall.SIGINT && sig != syscall.SIGTERM:
				_ = child.Signal(sig)
			case stop == 0 && r.drain > 0:
				stop = sig
				registration.drain(fmt.Sprintf("stopped by signal %d", int(sig)))
				drained = time.After(r.drain)
			default: // at once: there is no drain, or it was asked for again
				stop = cmp.Or(stop, sig)
				_ = child.Signal(sig)
				drained = nil
				if kill == nil {
					kill = time.After(r.stopTimeout)
				}
			}
		case <-drained:
			_ = child.Signal(stop)
			drained, kill = nil, time.After(r.stopTimeout)
		case <-kill:
			_ = child.Kill()
			kill = nil
		}
	}
}

// exitStatus is the exit code of a process, as shells have it.
func exitStatus(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return s.ExitCode()
}

// exitWords say how a process ended.
func exitWords(s *os.ProcessState) string {
	signal := 0
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		signal = int(status.Signal())
	}
	return domain.ExitReason(exitStatus(s), signal)
}

// registration is the registration of the process; there is none until the checks pass.
type registration struct {
	runner *runner
	kept   *client.Kept // nil: not registered yet
	ready  chan *client.Kept
	stop   context.CancelFunc // ends the checks
	ended  chan struct{}      // closed when the checks have ended
}

// register registers the process, at once or when its checks pass.
func (r *runner) register() *registration {
	ctx, stop := context.WithCancel(context.Background())
	g := &registration{runner: r, ready: make(chan *client.Kept, 1), stop: stop, ended: make(chan struct{})}
	if len(r.checks) == 0 {
		close(g.ended)
		g.ready <- g.keep(domain.Passing, "")
		return g
	}
	var kept *client.Kept // belongs to Report
	checks := &agent.Checks{Checks: r.checks, Details: r.details, Look: r.look, Report: func(status domain.Status, output string) {
		r.say("%s is %s: %s", r.key, status, firstLine(output))
		switch {
		case kept != nil:
			_ = kept.ReportHealth(client.Health{Status: status, Output: output, Source: domain.FromCheck}) // the values are right
		case status == domain.Passing:
			if kept = g.keep(status, output); kept != nil {
				g.ready <- kept
			}
		}
	}}
	go func() {
		defer close(g.ended)
		checks.Run(ctx)
	}()
	return g
}

func firstLine(text string) string {
	for i, r := range text {
		if r == '\n' {
			return text[:i]
		}
	}
	return text
}

// keep begins to keep the process registered. Each start of the process is an owner of its own.
func (g *registration) keep(status domain.Status, _ string) *client.Kept {
	r := g.runner
	details := r.details
	details.Status = status
	owner := uuid.NewString()
	if r.owner != "" {
		owner = r.owner + ":" + owner
	}
	kept, err := r.remote.Keep(context.Background(), client.Registration{Key: r.key, Details: details, Owner: owner, OnChange: tellKept(r.key, r.say)})
	if err != nil {
		r.say("%v", err)
		return nil
	}
	return kept
}

// tellKept gives a function that says how an instance is kept registered: that it is, what is in the way, and that it is again.
func tellKept(key domain.Key, say func(format string, values ...any)) func(client.State) {
	var last client.State
	return func(s client.State) {
		registered := s.Phase == client.Registered && s.Err == nil
		switch {
		case registered && (last.Phase != s.Phase || last.Epoch != s.Epoch):
			say("%s is registered (epoch %d)", key, s.Epoch)
		case registered && last.Err != nil:
			say("%s is kept registered again", key)
		case s.Phase == client.Replaced:
			say("%s was registered by another process: %v", key, s.Err)
		case s.Err != nil:
			say("%s: %v", key, s.Err)
		}
		last = s
	}
}

// now is the kept instance, if the process is registered.
func (g *registration) now() *client.Kept {
	select {
	case g.kept = <-g.ready:
	default:
	}
	return g.kept
}

func (g *registration) drain(reason string) {
	if kept := g.now(); kept != nil {
		_ = kept.ChangeTraffic(domain.Draining, reason) // the values are right
	}
}

// end deregisters the process.
func (g *registration) end(reason string) {
	g.stop()
	<-g.ended
	kept := g.now()
	if kept == nil {
		return
	}
	kept.End(reason)
	<-kept.Done()
	if s := kept.State(); s.Phase == client.Ended && s.Err != nil {
		g.runner.say("%s is not deregistered, its lease will expire: %v", g.runner.key, s.Err)
	}
}
