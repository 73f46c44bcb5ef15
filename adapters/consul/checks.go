package consul

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

// addChecks puts the checks of a registration into its details. Check and Checks may both be there, and ids that are
// missing are made as Consul makes them.
func (f *face) addChecks(d *domain.Details, o *origin, body serviceRegistration) error {
	var all []*checkDefinition
	if body.Check != nil && !body.Check.empty() {
		all = append(all, body.Check)
	}
	for _, c := range body.Checks {
		if c != nil && !c.empty() {
			all = append(all, c)
		}
	}
	d.Checks = []domain.Check{} // a registration without checks has none
	for i, c := range all {
		id := c.CheckID
		if id == "" {
			id = c.ID
		}
		if id == "" {
			if id = "service:" + body.ID; len(all) > 1 {
				id = fmt.Sprintf("service:%s:%d", body.ID, i+1)
			}
		}
		if c.Name == "" {
			c.Name = "Service '" + body.Name + "' check"
		}
		check, kept, err := f.definition(id, *c)
		if err != nil {
			return err
		}
		if c.Status != "" && c.Status != passing && c.Status != warning && c.Status != critical {
			return failure{http.StatusBadRequest, "Status for checks must 'passing', 'warning', 'critical'"}
		}
		if at := indexOfCheck(d.Checks, check.ID); at >= 0 {
			d.Checks[at] = check // a later check takes the place of an earlier one
		} else {
			d.Checks = append(d.Checks, check)
		}
		o.keep(check.ID, kept)
	}
	return nil
}

func indexOfCheck(checks []domain.Check, id string) int {
	for i, c := range checks {
		if c.ID == id {
			return i
		}
	}
	return -1
}

func (o *origin) keep(id string, c checkOrigin) {
	if c.Type == "" && c.Definition == nil {
		return
	}
	if o.Checks == nil {
		o.Checks = map[string]checkOrigin{}
	}
	o.Checks[id] = c
}

// empty says whether the definition says nothing: Consul takes that for no check.
func (c *checkDefinition) empty() bool {
	return c.ID == "" && c.CheckID == "" && c.Name == "" && c.Status == "" && c.Notes == "" && c.kinds() == 0 && c.Interval == 0
}

// kinds counts what the check says of how it is made.
func (c *checkDefinition) kinds() (n int) {
	for _, given := range []bool{
		c.TTL != 0, c.HTTP != "", c.TCP != "", c.GRPC != "", c.UDP != "", c.H2PING != "", len(c.ScriptArgs) > 0, c.DockerContainerID != "", c.OSService != "", c.AliasNode != "" || c.AliasService != "",
	} {
		if given {
			n++
		}
	}
	return n
}

func invalidCheck(why string) error { return failure{http.StatusBadRequest, "Invalid check: " + why} }

// definition is a check in the domain's words.
func (f *face) definition(id string, c checkDefinition) (check domain.Check, o checkOrigin, err error) {
	check = domain.Check{ID: escape(id), Name: clip(c.Name, domain.MaxCheckName), Notes: clip(c.Notes, domain.MaxCheckNotes), RemoveAfter: f.removeAfter(c.DeregisterCriticalServiceAfter)}
	if check.InitialStatus = domain.Status(c.Status); c.Status == "" {
		check.InitialStatus = domain.Critical
	}
	switch {
	case len(c.ScriptArgs) > 0 || c.DockerContainerID != "" || c.Shell != "":
		return check, o, failure{http.StatusInternalServerError, "Scripts are disabled on this agent from remote calls; run them beside the service, and report a TTL check"}
	case c.UDP != "" || c.H2PING != "" || c.OSService != "" || c.AliasNode != "" || c.AliasService != "":
		return check, o, invalidCheck("Rollcall looks by HTTP, TCP and gRPC only; report anything else as a TTL check")
	case c.TTL != 0 && c.Interval != 0:
		return check, o, invalidCheck("Interval and TTL cannot both be specified")
	case c.kinds() == 0:
		return check, o, invalidCheck("TTL must be > 0 for TTL checks")
	case c.kinds() > 1:
		return check, o, invalidCheck("a check is of one type only")
	case c.TTL < 0:
		return check, o, invalidCheck("TTL must be > 0 for TTL checks")
	case c.TTL == 0 && c.Interval <= 0:
		return check, o, invalidCheck("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	}
	kept := map[string]any{}
	if c.TTL > 0 {
		check.Kind, check.TTL = domain.CheckTTL, domain.Duration(min(max(time.Duration(c.TTL), domain.MinTTL), domain.MaxTTL))
		kept["TTL"] = time.Duration(c.TTL).String()
	} else {
		check.Interval = domain.Duration(min(max(time.Duration(c.Interval), domain.MinInterval), domain.MaxInterval))
		timeout := time.Duration(c.Timeout)
		if timeout <= 0 {
			timeout = 10 * time.Second
		}
		check.Timeout = domain.Duration(min(max(timeout, domain.MinTimeout), time.Duration(check.Interval)))
		check.Failures, check.Successes = min(c.FailuresBeforeCritical, domain.MaxThreshold), min(c.SuccessBeforePassing, domain.MaxThreshold)
		kept["Interval"], kept["Timeout"] = time.Duration(check.Interval).String(), time.Duration(check.Timeout).String()
	}
	switch {
	case c.HTTP != "":
		check.Kind, check.URL, check.Method, check.Body, check.FollowRedirects = domain.CheckHTTP, c.HTTP, strings.ToUpper(c.Method), c.Body, !c.DisableRedirects
		check.WarningStatuses = []domain.StatusRange{{From: http.StatusTooManyRequests, To: http.StatusTooManyRequests}}
		check.Headers = map[string]string{}
		if u, err := url.Parse(c.HTTP); err == nil && u.User != nil { // the domain has credentials in headers only
			password, _ := u.User.Password()
			check.Headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
			u.User = nil
			check.URL = u.String()
		}
		for name, values := range c.Header {
			if strings.EqualFold(name, "Authorization") {
				delete(check.Headers, "Authorization") // a header goes before the URL
			}
			if len(values) > 0 {
				check.Headers[name] = strings.Join(values, ", ")
			}
		}
		if strings.HasPrefix(strings.ToLower(c.HTTP), "https:") {
			check.TLSServerName, check.TLSSkipVerify = c.TLSServerName, c.TLSSkipVerify
		}
		kept["HTTP"] = domain.Check{URL: check.URL}.Concealed().URL // clients see it
	case c.TCP != "":
		check.Kind, check.Target, check.TLS = domain.CheckTCP, c.TCP, c.TCPUseTLS
		kept["TCP"] = c.TCP
	case c.GRPC != "":
		check.Kind, check.TLS = domain.CheckGRPC, c.GRPCUseTLS
		check.Target, check.GRPCService, _ = strings.Cut(c.GRPC, "/")
		kept["GRPC"] = c.GRPC
	}
	if check.TLS {
		check.TLSServerName, check.TLSSkipVerify = c.TLSServerName, c.TLSSkipVerify
	}
	if c.DeregisterCriticalServiceAfter > 0 {
		kept["DeregisterCriticalServiceAfter"] = time.Duration(check.RemoveAfter).String()
	}
	o.Definition, err = json.Marshal(kept)
	return check, o, err
}

// clip shortens a text that a client sent, and takes control characters out.
func clip(s string, most int) string {
	s = strings.Join(strings.FieldsFunc(domain.CleanOutput(s), func(r rune) bool { return r == '\n' || r == '\t' }), " ")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

func (f *face) registerCheck(q *request) error {
	var body checkDefinition
	if err := q.decode(&body); err != nil {
		return err
	}
	if err := q.within(body.tenancy); err != nil {
		return err
	}
	if body.Name == "" {
		return failure{http.StatusBadRequest, "Missing check name"}
	}
	if body.Status != "" && body.Status != passing && body.Status != warning && body.Status != critical {
		return failure{http.StatusBadRequest, "Bad check status"}
	}
	id := body.ID
	if id == "" {
		id = body.CheckID
	}
	if id == "" {
		id = body.Name
	}
	n := nodeOf(q)
	if body.ServiceID == "" {
		if err := f.registerNodeCheck(q, n, id, body); err != nil {
			return err
		}
		return done(q)
	}
	err := f.again(q, func() error {
		found, live := f.find(q, n, body.ServiceID)
		if !live {
			return failure{http.StatusNotFound, fmt.Sprintf("ServiceID %q does not exist", body.ServiceID)}
		}
		check, _, err := f.definition(id, body)
		if err != nil {
			return err
		}
		return f.addCheck(q, n, found.key, id, check, body.Status)
	})
	if err != nil {
		return err
	}
	return done(q)
}

// addCheck gives an instance at a node a check under an id. status is the one that the client names; "": none.
func (f *face) addCheck(q *request, n node, key domain.Key, id string, check domain.Check, status string) error {
	// The same id at another service of the node moves, as with Consul.
	at := agentID{namespace: q.namespace, node: n.name, id: id, check: true}
	if before, had := f.findCheck(q, n, id); had && before.key != key && f.stillNames(at, before) {
		if _, err := f.do(q, domain.RemoveCheck{Key: before.key, Check: before.check}); err != nil {
			return err
		}
	}
	result, err := f.do(q, domain.AddCheck{Key: key, Check: check})
	if err != nil {
		return err
	}
	f.remember(at, target{key, check.ID}, result.Position)
	if status != "" && check.Kind == domain.CheckTTL { // also that of a check which was there before
		if _, err := f.do(q, domain.ReportCheck{Key: key, Check: check.ID, Status: domain.Status(status)}); err != nil {
			return err
		}
	}
	return nil
}

func (f *face) deregisterCheck(q *request) error {
	err := f.again(q, func() error {
		found, live := f.findCheck(q, nodeOf(q), q.id)
		if !live {
			return unknownCheck(q.id)
		}
		_, err := f.do(q, domain.RemoveCheck{Key: found.key, Check: found.check})
		return err
	})
	if err != nil {
		return err
	}
	return done(q)
}

func (f *face) agentChecks(q *request) error {
	checks, n := []healthCheck{}, nodeOf(q).name
	all := f.ofNode(q, n)
	if known := f.nodes(q.namespace).byName[n]; known != nil && (len(all) > 0 || q.reads(q.namespace, nodeService)) {
		checks = append(checks, q.checksWithNamespace(known.checks)...)
	}
	for _, s := range all {
		checks = append(checks, q.checksWithNamespace(s.own())...)
	}
	checks, err := filter(q, checks)
	if err != nil {
		return err
	}
	byID := map[string]healthCheck{}
	for _, c := range checks {
		byID[c.CheckID] = c
	}
	return q.json(byID)
}
