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
	Proxy             json.RawMessage `json:",omitempty"`
	Connect           json.RawMessage `json:",omitempty"`
	Locality          json.RawMessage `json:",omitempty"`
	CreateIndex       uint64
	ModifyIndex       uint64
	ContentHash       string `json:",omitempty"`
	Datacenter        string `json:",omitempty"`
	Namespace         string `json:",omitempty"`
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
	ServiceProxy             json.RawMessage
	ServiceConnect           json.RawMessage
	CreateIndex              uint64
	ModifyIndex              uint64
	Namespace                string `json:",omitempty"`
}

// serviceRegistration is the body of a registration at an agent.
type serviceRegistration struct {
	ID, Name, Kind, Address, SocketPath, Namespace, Token string

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

type namedPort struct {
	Name    string
	Port    int
	Default bool
}

type locality struct{ Region, Zone string }

// checkDefinition is a check in a registration.
type checkDefinition struct {
	ID, CheckID, Name, Notes, ServiceID, Status, Namespace string

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
