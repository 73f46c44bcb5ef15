package consul

import "encoding/json"

// The shapes of Consul's replies.

type nodeEntry struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	Meta            map[string]string
	CreateIndex     uint64
	ModifyIndex     uint64
}

type agentService struct {
	Kind              string `json:",omitempty"`
	ID                string
	Service           string
	Tags              []string
	Meta              map[string]string
	Port              int
	Ports             json.RawMessage `json:",omitempty"`
	Address           string
	SocketPath        string                    `json:",omitempty"`
	TaggedAddresses   map[string]serviceAddress `json:",omitempty"`
	Weights           weights
	EnableTagOverride bool
	Proxy             proxy           `json:",omitzero"`
	Connect           connect         `json:",omitzero"`
	Locality          json.RawMessage `json:",omitempty"`
	CreateIndex       uint64
	ModifyIndex       uint64
	ContentHash       string `json:",omitempty"`
	Datacenter        string `json:",omitempty"`
	Namespace         string `json:",omitempty"`
}

// proxy is what a client sent as a proxy, with the fields by which filters pick.
type proxy struct {
	DestinationServiceName, DestinationServiceID, LocalServiceAddress, Mode string
	LocalServicePort                                                        int
	MeshGateway                                                             struct{ Mode string }

	sent json.RawMessage // nil: nothing
}

func readProxy(sent json.RawMessage) (p proxy) {
	_ = json.Unmarshal(sent, &p) // it is kept, whatever it is
	p.sent = sent
	return p
}

// IsZero says whether nothing was sent.
func (p proxy) IsZero() bool { return p.sent == nil }

// MarshalJSON writes what was sent.
func (p proxy) MarshalJSON() ([]byte, error) { return orObject(p.sent), nil }

// connect is what a client sent as its place in a mesh, with the field by which filters pick.
type connect struct {
	Native bool

	sent json.RawMessage // nil: nothing
}

func readConnect(sent json.RawMessage) (c connect) {
	_ = json.Unmarshal(sent, &c) // see readProxy
	c.sent = sent
	return c
}

// IsZero says whether nothing was sent.
func (c connect) IsZero() bool { return c.sent == nil }

// MarshalJSON writes what was sent.
func (c connect) MarshalJSON() ([]byte, error) { return orObject(c.sent), nil }

func orObject(sent json.RawMessage) []byte {
	if sent == nil {
		return []byte("{}")
	}
	return sent
}

// serviceAddress is an address under a tag. Clients put any text there.
type serviceAddress struct {
	Address string
	Port    int
}

type healthCheck struct {
	Node        string
	CheckID     string
	Name        string
	Status      string
	Notes       string
	Output      string
	ServiceID   string
	ServiceName string
	ServiceTags []string
	Type        string
	Interval    string
	Timeout     string
	ExposedPort int
	Definition  json.RawMessage
	CreateIndex uint64
	ModifyIndex uint64
	Namespace   string `json:",omitempty"`
}

type serviceEntry struct {
	Node    nodeEntry
	Service agentService
	Checks  []healthCheck
}

type catalogService struct {
	ID                       string
	Node                     string
	Address                  string
	Datacenter               string
	TaggedAddresses          map[string]string
	NodeMeta                 map[string]string
	ServiceKind              string
	ServiceID                string
	ServiceName              string
	ServiceTags              []string
	ServiceAddress           string
	ServiceTaggedAddresses   map[string]serviceAddress
	ServiceWeights           weights
	ServiceMeta              map[string]string
	ServicePort              int
	ServiceSocketPath        string
	ServiceEnableTagOverride bool
	ServiceProxy             proxy
	ServiceConnect           connect
	CreateIndex              uint64
	ModifyIndex              uint64
	Namespace                string `json:",omitempty"`
}

// serviceRegistration is the body of a registration at an agent.
type serviceRegistration struct {
	tenancy
	ID, Name, Kind, Address, SocketPath, Token string

	Tags              []string
	Port              int
	Ports             []namedPort
	Meta              map[string]string
	TaggedAddresses   map[string]serviceAddress
	Weights           *weights
	EnableTagOverride bool
	Proxy             json.RawMessage
	Connect           json.RawMessage
	Locality          *locality
	Check             *checkDefinition
	Checks            []*checkDefinition
}

// tenancies are those of the registration and its checks.
func (s *serviceRegistration) tenancies() []tenancy {
	all := []tenancy{s.tenancy}
	for _, c := range append(s.Checks, s.Check) {
		if c != nil {
			all = append(all, c.tenancy)
		}
	}
	return all
}

type namedPort struct {
	Name    string
	Port    int
	Default bool
}

type locality struct{ Region, Zone string }

// checkDefinition is a check in a registration.
type checkDefinition struct {
	tenancy
	ID, CheckID, Name, Notes, ServiceID, Status string

	TTL, Interval, Timeout         duration
	HTTP, Method, Body             string
	Header                         map[string][]string
	DisableRedirects               bool
	TCP, UDP, GRPC, H2PING         string
	TCPUseTLS, GRPCUseTLS          bool
	TLSServerName                  string
	TLSSkipVerify                  bool
	ScriptArgs                     []string
	DockerContainerID, Shell       string
	OSService                      string
	AliasNode, AliasService        string
	SuccessBeforePassing           int
	FailuresBeforeCritical         int
	DeregisterCriticalServiceAfter duration
}
