package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-registry/rollcall/domain"
)

// Words say what a look saw, in one line, and then what the answer began with. They fit into an event's output.
func (t *Target) Words(f Finding) string {
	words := t.line(f)
	if body := strings.TrimSpace(t.conceal(string(f.Body))); body != "" {
		words += "\n" + body
	}
	return domain.CleanOutput(words)
}

// leastSecret is the length in bytes from which on a value is taken for a secret. A shorter one may stand in an answer by chance.
const leastSecret = 8

// conceal leaves out of an answer what the check conceals (domain.Concealed), because some servers answer with the request: the
// values of its headers, its body and the query of its URL.
func (t *Target) conceal(answer string) string {
	extra := t.extra()
	_, query, _ := strings.Cut(t.Path, "?")
	secrets := []string{extra.Body, query}
	for _, h := range extra.Headers {
		_, credentials, _ := strings.Cut(h[1], " ") // of Authorization, behind the scheme
		secrets = append(secrets, h[1], credentials)
	}
	for _, secret := range secrets {
		if len(secret) >= leastSecret {
			answer = strings.ReplaceAll(answer, secret, "(concealed)")
		}
	}
	return answer
}

func (t *Target) line(f Finding) string {
	what := t.what()
	if f.At != nil {
		what += ", redirected to " + f.At.place() + ","
	}
	switch {
	case f.Err == nil && t.Kind == HTTP:
		return fmt.Sprintf("%s answered %d after %s", what, f.Status, briefly(f.Took))
	case f.Err == nil && t.Kind == GRPC:
		return fmt.Sprintf("%s answered %s after %s", what, health.HealthCheckResponse_ServingStatus(f.Status), briefly(f.Took))
	case f.Err == nil:
		return fmt.Sprintf("%s succeeded after %s", what, briefly(f.Took))
	case errors.As(f.Err, new(refused)):
		if t.Port == 0 {
			return "there is nothing to look at: " + f.Err.Error()
		}
		return fmt.Sprintf("%s is not allowed: %s", what, f.Err)
	case f.Status != 0 && errors.Is(f.Err, context.DeadlineExceeded):
		return fmt.Sprintf("%s answered %d, but not the whole answer came within %s", what, f.Status, briefly(t.Timeout))
	case f.Status != 0:
		return fmt.Sprintf("%s answered %d after %s, but %s", what, f.Status, briefly(f.Took), t.conceal(reason(f.Err)))
	case errors.As(f.Err, new(told)):
		return fmt.Sprintf("%s answered with an error after %s: %s", what, briefly(f.Took), t.conceal(reason(f.Err)))
	case f.Began && errors.Is(f.Err, context.DeadlineExceeded):
		return fmt.Sprintf("%s got no whole answer within %s", what, briefly(t.Timeout))
	case errors.Is(f.Err, context.DeadlineExceeded) && !errors.As(f.Err, new(*net.DNSError)):
		return fmt.Sprintf("%s got no answer within %s", what, briefly(t.Timeout))
	}
	return fmt.Sprintf("%s failed after %s: %s", what, briefly(f.Took), t.conceal(reason(f.Err)))
}

// what names the probe. The query of a URL is left out, because it may hold a secret.
func (t *Target) what() string {
	switch t.Kind {
	case TCP:
		return "connecting to " + t.authority()
	case GRPC:
		if t.Path == "" {
			return "gRPC health of " + t.authority()
		}
		return "gRPC health of " + t.Path + " at " + t.authority()
	}
	return t.method() + " " + t.plainPath()
}

func (t *Target) plainPath() string {
	path, _, _ := strings.Cut(t.Path, "?")
	return path
}

// place is the URL of a target of HTTP, without its query.
func (t *Target) place() string {
	scheme := "http"
	if t.TLS {
		scheme = "https"
	}
	return scheme + "://" + t.authority() + t.plainPath()
}

// reason says in words why there was no answer. What it does not know, it gives as the library says it.
func reason(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var dns *net.DNSError
	var answer told
	if errors.As(err, &answer) {
		err = answer.error
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the address cannot be reached"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the registry has no free connection"
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate is not valid for %s", name.Host)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "the certificate is signed by an unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not yet valid"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return "the certificate is not valid"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "the answer is not TLS"
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("the name %s is not known", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s could not be resolved", dns.Name)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without a whole answer"
	}
	switch s, isStatus := status.FromError(err); {
	case !isStatus:
		for inner := err; inner != nil; inner = errors.Unwrap(inner) { // what net/http puts before the cause says nothing
			err = inner
		}
		return err.Error()
	case s.Code() == codes.NotFound:
		return "the server does not know the service"
	case s.Code() == codes.Unimplemented:
		return "the server has no health service"
	default:
		return s.Code().String() + ": " + s.Message()
	}
}

// ours says whether a look failed because of the registry's machine, so that it tells nothing of the target.
func ours(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// briefly is a duration as people say it: 12 ms, 1.5 s.
func briefly(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
}
