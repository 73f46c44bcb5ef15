package web

import (
	"strings"
	"testing"
)

func TestTheLogHasNoSecretsOfQueries(t *testing.T) {
	token := "rollcall_" + strings.Repeat("0a", 32)
	for query, want := range map[string]string{
		"": "", "ns=shop&wait=5s": "ns=shop&wait=5s", "token=x": "token=REDACTED", "ns=a&access_token=x&tag=b": "ns=a&access_token=REDACTED&tag=b",
		"TOKEN=x": "TOKEN=REDACTED", "%74oken=x": "token=REDACTED", "api-key=x": "api-key=REDACTED", "token": "token", "token=": "token=",
		"reason=" + token: "reason=REDACTED", token: "REDACTED", "meta.password=x": "meta.password=REDACTED", "reason=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln": "reason=REDACTED", "X-Amz-Signature=x": "X-Amz-Signature=REDACTED",
	} {
		if got := redactQuery(query); got != want {
			t.Errorf("%q is logged as %q, want %q", query, got, want)
		}
	}
	if got := redactText("/v1/services/" + token + "/instances"); got != "/v1/services/REDACTED/instances" {
		t.Errorf("a path is logged as %q", got)
	}
}
