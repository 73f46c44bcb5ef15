package domain

import (
	"maps"
	"slices"
	"strings"
)

// ConcealedText stands for what a caller may not see.
const ConcealedText = "…"

// Concealed is the check without what is sent to the target and may be a secret: values of headers, the body, and the query of
// the URL.
func (c Check) Concealed() Check {
	if len(c.Headers) > 0 {
		shown := make(map[string]string, len(c.Headers))
		for name := range c.Headers {
			shown[name] = ConcealedText
		}
		c.Headers = shown
	}
	if c.Body != "" {
		c.Body = ConcealedText
	}
	c.URL = concealedQuery(c.URL)
	return c
}

// secret says whether Concealed changes the check.
func (c *Check) secret() bool {
	return len(c.Headers) > 0 || c.Body != "" || concealedQuery(c.URL) != c.URL
}

// concealedQuery is a URL without what its query holds.
func concealedQuery(text string) string {
	before, query, _ := strings.Cut(text, "?")
	if query == "" {
		return text
	}
	return before + "?" + ConcealedText
}

// ConcealedChecks are the checks without their secrets; concealed is false if they have none.
func ConcealedChecks(checks []Check) (shown []Check, concealed bool) {
	for i := range checks {
		if !checks[i].secret() {
			continue
		}
		if !concealed {
			shown, concealed = slices.Clone(checks), true
		}
		shown[i] = checks[i].Concealed()
	}
	if !concealed {
		return checks, false
	}
	return shown, true
}

// Concealed is an event without its secrets; concealed is false if it has none. Of a webhook of schema version 1, whose URL is
// whole, the host is left (ShownURL).
func Concealed(event Event) (shown Event, concealed bool) {
	switch e := event.(type) {
	case InstanceRegistered:
		e.Checks, concealed = ConcealedChecks(e.Checks)
		return e, concealed
	case InstanceUpdated:
		e.Checks, concealed = ConcealedChecks(e.Checks)
		return e, concealed
	case CheckAdded:
		if concealed = e.Check.secret(); concealed {
			e.Check = e.Check.Concealed()
		}
		return e, concealed
	case WebhookCreated:
		if len(e.Target) > 0 {
			return e, false
		}
		whole := e.URL
		e.URL = ShownURL(whole)
		return e, e.URL != whole
	}
	return event, false
}

// IsConcealed says whether an event looks as Concealed leaves one.
func IsConcealed(event Event) bool {
	checks := func(all []Check) bool {
		return slices.ContainsFunc(all, func(c Check) bool {
			return slices.Contains(slices.Collect(maps.Values(c.Headers)), ConcealedText) || c.Body == ConcealedText || strings.HasSuffix(c.URL, "?"+ConcealedText)
		})
	}
	switch e := event.(type) {
	case InstanceRegistered:
		return checks(e.Checks)
	case InstanceUpdated:
		return checks(e.Checks)
	case CheckAdded:
		return checks([]Check{e.Check})
	case WebhookCreated:
		return len(e.Target) == 0 && strings.HasSuffix(e.URL, "/...")
	}
	return false
}
