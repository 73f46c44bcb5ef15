package domain

// The ways by which commands and events come.
const (
	ViaHTTP     = "http"     // the native API
	ViaConsul   = "consul"   // the face that speaks Consul's API
	ViaCLI      = "cli"      // the command line
	ViaExpiry   = "expiry"   // the registry, for leases that lapsed
	ViaProbes   = "probes"   // the registry, for checks that it looks at itself
	ViaCluster  = "cluster"  // the registry, for members whose coming or going nobody recorded
	ViaWebhooks = "webhooks" // the registry, for webhooks that failed for long
)

// Vias are all ways, the reasons of timelines among them.
func Vias() []string {
	return []string{ViaHTTP, ViaConsul, ViaCLI, ViaExpiry, ViaProbes, ViaCluster, ViaWebhooks, string(Restored), string(TailLost), string(Recovered), string(Migrated)}
}
