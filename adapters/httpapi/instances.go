package httpapi

import (
	"net/http"
	"net/url"
	"reflect"
	"strconv"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/rollcall-registry/rollcall/adapters/web"
	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
	"github.com/rollcall-registry/rollcall/queries"
	"github.com/rollcall-registry/rollcall/queries/wire"
)

var durationType = reflect.TypeFor[domain.Duration]()

// unchanged is the status of a registration that names none: the instance keeps its present status, and is passing at the
// beginning of an epoch. Generated clients may send a value for every field, so that the default needs a name.
const unchanged domain.Status = "unchanged"

// registration is the body of a registration. A field that the body leaves out gets its default.
type registration struct {
	Address     string            `json:"address"`
	Ports       map[string]int    `json:"ports"`
	Tags        []string          `json:"tags"`
	Metadata    map[string]string `json:"metadata"`
	Zone        string            `json:"zone"`
	Version     string            `json:"version"`
	Weight      *uint16           `json:"weight"` // default 100
	Status      *domain.Status    `json:"status"` // default unchanged
	TTL         *domain.Duration  `json:"ttl"`    // default 30s
	Checks      []check           `json:"checks"` // default: those of the live instance
	OnLapse     *string           `json:"on_lapse"`
	RemoveAfter *duration         `json:"remove_after"`
	Origin      domain.Origin     `json:"origin"`
	Owner       string            `json:"owner"`
	Epoch       uint64            `json:"epoch"` // the epoch that must be live; 0: no precondition
}

func (r registration) command(key domain.Key) (domain.Command, error) {
	details, err := r.details()
	return domain.RegisterInstance{Key: key, Owner: r.Owner, Epoch: r.Epoch, Details: details}, err
}

func (r registration) details() (domain.Details, error) {
	d := domain.Details{
		Address: r.Address, Tags: r.Tags, Metadata: r.Metadata, Zone: r.Zone, Version: r.Version,
		Weight: domain.DefaultWeight, TTL: domain.Duration(domain.DefaultTTL), Origin: r.Origin,
	}
	if r.Weight != nil {
		d.Weight = *r.Weight
	}
	if r.Status != nil && *r.Status != unchanged {
		d.Status = *r.Status
		if d.Status == "" {
			return d, d.Status.Validate("status")
		}
	}
	if r.TTL != nil {
		d.TTL = *r.TTL
	}
	if r.OnLapse != nil {
		if d.OnLapse = domain.LapsePolicy(*r.OnLapse); d.OnLapse == "" {
			return d, invalidField("on_lapse", "must be remove or critical")
		}
	}
	var err error
	if r.RemoveAfter != nil && *r.RemoveAfter != "none" {
		if d.RemoveAfter, err = r.RemoveAfter.read("remove_after"); err != nil {
			return d, err
		}
	}
	if d.Checks, err = definitions(r.Checks); err != nil {
		return d, err
	}
	if len(r.Ports) > 0 {
		d.Ports = make(map[string]uint16, len(r.Ports))
	}
	for name, port := range r.Ports {
		if port < 1 || port > 65535 {
			return d, invalidField("ports."+name, "must be 1-65535")
		}
		d.Ports[name] = uint16(port)
	}
	return d, nil
}

func (a *api) register(c echo.Context) error { return a.registerAs(c, pathPart(c, "id")) }

func (a *api) registerNew(c echo.Context) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	once, err := onceKey(c)
	if err != nil {
		return err
	}
	if once != "" {
		id = commands.OnceID(caller(c), once)
	}
	return a.registerAs(c, id.String())
}

func (a *api) registerAs(c echo.Context, id string) error {
	body, err := readBody(c, MaxBody)
	if err != nil {
		return err
	}
	var plain plainRegistration
	if !plain.read(string(body), false) {
		plain = plainRegistration{}
		if err := DecodeStrict(body, &plain.registration); err != nil {
			return err
		}
	}
	key := instanceKey(c)
	key.ID = id
	var register domain.RegisterInstance
	if err := plain.register(&register, key); err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: register})
}

// heartbeat handles the most frequent request. A heartbeat has no body.
func (a *api) heartbeat(c echo.Context) error {
	precondition, err := queryPrecondition(c)
	if err != nil {
		return err
	}
	if err := refuseBody(c); err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: domain.SendHeartbeat{Key: instanceKey(c), Epoch: precondition.Epoch, Owner: precondition.Owner}})
}

type healthReport struct {
	Status domain.Status       `json:"status"`
	Output string              `json:"output"`
	Source domain.HealthSource `json:"source"` // default client
	Epoch  uint64              `json:"epoch"`
	Owner  string              `json:"owner"`
}

func (r healthReport) command(key domain.Key) domain.Command {
	if r.Source == "" {
		r.Source = domain.FromClient
	}
	return domain.ReportHealth{Key: key, Epoch: r.Epoch, Owner: r.Owner, Status: r.Status, Source: r.Source, Output: r.Output}
}

func (a *api) reportHealth(c echo.Context) error {
	var body healthReport
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: body.command(instanceKey(c))})
}

type trafficChange struct {
	Traffic domain.Traffic `json:"traffic"`
	Reason  string         `json:"reason"`
	Force   bool           `json:"force"` // also where a policy refuses
	Epoch   uint64         `json:"epoch"`
	Owner   string         `json:"owner"`
}

func (t trafficChange) command(key domain.Key) domain.Command {
	return domain.ChangeTraffic{Key: key, Epoch: t.Epoch, Owner: t.Owner, Traffic: t.Traffic, Reason: t.Reason, Force: t.Force}
}

func (a *api) changeTraffic(c echo.Context) error {
	var body trafficChange
	if err := decodeBody(c, &body, false); err != nil {
		return err
	}
	return a.do(c, commands.Request{Command: body.command(instanceKey(c))})
}

func (a *api) deregister(c echo.Context) error {
	precondition, err := queryPrecondition(c)
	if err != nil {
		return err
	}
	deregister := domain.DeregisterInstance{Key: instanceKey(c), Epoch: precondition.Epoch, Owner: precondition.Owner, Reason: c.QueryParam("reason")}
	if c.QueryParams().Has("force") {
		if deregister.Force, err = queries.ParseBool("force", c.QueryParam("force")); err != nil {
			return err
		}
	}
	return a.do(c, commands.Request{Command: deregister})
}

// do carries out the request's command and answers with its result.
func (a *api) do(c echo.Context, request commands.Request) error {
	request, err := withPreconditions(c, request)
	if err != nil {
		return err
	}
	if request.Command, err = web.IdentityOf(c).Command(request.Command); err != nil {
		return err
	}
	command := request.Command
	r := a.Commands.Do(c.Request().Context(), caller(c), request)
	if r.Err != nil {
		return r.Err
	}
	a.setPosition(c, max(r.Position, a.Queries.Position()))
	status := http.StatusOK
	if r.Created {
		status = http.StatusCreated
		c.Response().Header().Set("Location", string(appendLocation(nil, command.Instance())))
	}
	if !renews(command) {
		c.Response().Header().Set("ETag", revisionTag(r))
	}
	return web.AnswerJSON(c, status, appendResult(make([]byte, 0, 192), a.Queries.At(r.Position), command.Instance(), r))
}

// appendLocation appends the path of an instance, with its namespace.
func appendLocation(b []byte, key domain.Key) []byte {
	b = append(append(b, "/v1/services/"...), key.Service...)
	b = append(append(b, "/instances/"...), url.PathEscape(key.ID)...)
	if key.Namespace != domain.DefaultNamespace {
		b = append(append(b, "?ns="...), key.Namespace...)
	}
	return b
}

// revisionTag is the entity tag of an instance after a command.
func revisionTag(r commands.Result) string { return `"` + strconv.FormatUint(r.Revision, 10) + `"` }

// renews says whether a command is answered without an ETag, as the most frequent commands are.
func renews(command domain.Command) bool {
	switch command.(type) {
	case domain.SendHeartbeat, domain.ReportCheck:
		return true
	}
	return false
}

// appendResult appends the JSON of a command's result. No part of the JSON needs escapes: a legal key has no quotes,
// backslashes or control characters, and a command with an illegal key has no result.
func appendResult(b []byte, at wire.Position, key domain.Key, r commands.Result) []byte {
	return appendOutcome(appendKey(append(b, '{'), &key), at, &r)
}

// appendKey appends the fields of an instance, with a comma behind them.
func appendKey(b []byte, key *domain.Key) []byte {
	b = append(b, `"namespace":"`...)
	b = append(b, key.Namespace...)
	b = append(b, `","service":"`...)
	b = append(b, key.Service...)
	b = append(b, `","id":"`...)
	b = append(b, key.ID...)
	return append(b, `",`...)
}

// appendOutcome appends the fields of a result and the brace at the end.
func appendOutcome(b []byte, at wire.Position, r *commands.Result) []byte {
	b = append(b, `"position":"`...)
	b = at.Append(b)
	b = append(b, `","epoch":`...)
	b = strconv.AppendUint(b, r.Epoch, 10)
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, r.Revision, 10)
	if r.Outcome != "" {
		b = append(append(append(b, `,"outcome":"`...), r.Outcome...), '"')
	}
	return append(b, '}')
}
