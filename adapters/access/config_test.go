package access

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodFile = `anonymous:
  roles: [reader]
  namespaces: [public]
issuers:
  - name: k8s
    url: https://kubernetes.default.svc
    audiences: [rollcall]
    token_file: /var/run/secrets/kubernetes.io/serviceaccount/token
    algorithms: [RS256]
    skew: 1m
    actor: sub
    rules:
      - claims:
          kubernetes.io:
            namespace: "{ns}"
            serviceaccount: { name: "{service}" }
        roles: [service]
        namespaces: ["{ns}"]
        services: ["{service}"]
      - claims: { groups: [platform, "ops-*"], admin: true }
        roles: [operator]
certificates:
  - spiffe: spiffe://prod.example/ns/{ns}/sa/{service}
    roles: [service]
    namespaces: ["{ns}"]
    services: ["{service}"]
  - common_name: prometheus
    roles: [reader]
`

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileInYAMLOrJSONIsRead(t *testing.T) {
	for name, content := range map[string]string{
		"YAML": goodFile,
		"JSON": "{\n\t\"anonymous\": {\"roles\": [\"reader\"]},\n\t\"issuers\": [{\"name\": \"ci\", \"url\": \"https://ci.example\", \"audiences\": [\"rollcall\"],\n\t\t\"rules\": [{\"claims\": {\"sub\": \"*\"}, \"roles\": [\"reader\"]}]}]\n}",
	} {
		c, err := Read(write(t, content))
		if err != nil || len(c.Issuers) != 1 || c.Anonymous == nil || c.Issuers[0].Actor != "sub" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// Each change makes the good file bad. The message is one line, and names the line and the field.
func TestABadFileIsRefusedByItsLine(t *testing.T) {
	for _, c := range []struct{ replace, by, want string }{
		{"    audiences: [rollcall]", "    audience: [rollcall]", "line 7: field audience"},
		{"    skew: 1m", "    skew: 1h", "line 10: issuers.0.skew"},
		{"    skew: 1m", "    skew: 1500ms", "line 10: issuers.0.skew"},
		{"    skew: 1m", "    skew: long", "line 10:"},
		{"algorithms: [RS256]", "algorithms: [HS256]", "line 9: issuers.0.algorithms"},
		{"algorithms: [RS256]", "algorithms: [none]", "line 9: issuers.0.algorithms"},
		{"https://kubernetes.default.svc", "http://kubernetes.default.svc", "line 6: issuers.0.url"},
		{"https://kubernetes.default.svc", "kubernetes", "line 6: issuers.0.url"},
		{"name: k8s", "name: spiffe", "line 5: issuers.0.name"},
		{"name: k8s", "name: K8s", "line 5: issuers.0.name"},
		{"[rollcall]", "[]", "line 7: issuers.0.audiences"},
		{"[rollcall]", `[""]`, "line 7: issuers.0.audiences"},
		{"        namespaces: [\"{ns}\"]\n        services", "        namespaces: [\"{nss}\"]\n        services", "line 18: issuers.0.rules.0.namespaces uses {nss}"},
		{"roles: [operator]", "roles: []", "line 21: issuers.0.rules.1.roles"},
		{"roles: [operator]", "role: [operator]", "line 21: field role"},
		{"roles: [operator]", "roles: operator", "line 21:"},
		{"roles: [operator]", `roles: ["a b"]`, "line 21: issuers.0.rules.1.roles"},
		{"claims: { groups: [platform, \"ops-*\"], admin: true }", "claims: {}", "line 20: issuers.0.rules.1.claims"},
		{"claims: { groups: [platform, \"ops-*\"], admin: true }", "namespaces: [a]", "line 20: issuers.0.rules.1.claims"},
		{"[platform, \"ops-*\"]", "[platform, \"ops-{x}\"]", "line 20: claims."},
		{"[platform, \"ops-*\"]", "[platform, [a]]", "line 20: claims."},
		{"{ name: \"{service}\" }", "{ name: \"{service}{ns}\" }", "line 16: claims."},
		{"spiffe://prod.example/", "spiffe://{domain}/", "line 23: certificates.0.spiffe"},
		{"spiffe://prod.example/", "https://prod.example/", "line 23: certificates.0.spiffe"},
		{"common_name: prometheus", "common_name: a*b", "line 27: certificates.1.common_name"},
		{"  - common_name: prometheus\n    roles", "  - roles", "line 27: certificates.1.spiffe or common_name"},
		{"  - common_name: prometheus", "  - common_name: prometheus\n    spiffe: spiffe://a/b", "certificates.1.spiffe"},
		{"anonymous:\n  roles: [reader]", "anonymous:", "line 2: anonymous.roles"},
		{"namespaces: [public]", `namespaces: ["{ns}"]`, "line 3: anonymous.namespaces"},
		{"namespaces: [public]", `namespaces: ["a*b"]`, "line 3: anonymous.namespaces"},
		{"namespaces: [public]", "namespaces: [public]\n  namespaces: [x]", "line 4:"},
		{"namespaces: [public]", "namespaces: []", "line 3: namespaces must not be empty"},
		{"namespaces: [public]", "namespaces:", "line 3: namespaces must not be empty"},
		{"namespaces: [public]", "namespaces: [public, ~]", "line 3: a list must not hold null"},
		{"namespaces: [public]", "networks: []", "line 3: networks must not be empty"},
		{"        services: [\"{service}\"]\n      - claims", "        services: null\n      - claims", "line 19: services must not be empty"},
		{"    namespaces: [\"{ns}\"]\n    services: [\"{service}\"]\n  - common", "    instances: []\n  - common", "line 25: instances must not be empty"},
		{"algorithms: [RS256]", "algorithms: []", "line 9: algorithms must not be empty"},
		{goodFile, "issuers: &none []\nanonymous: { roles: [reader], namespaces: *none }\n", "line 2: namespaces must not be empty"},
		{"admin: true }", "admin: true, groups: \"*\" }", "line 20: claims.groups must be given once"},
		{"admin: true }", "admin: ~ }", "line 20: claims.admin must be a text"},
		{goodFile, "", "the file is empty"},
		{goodFile, "[]", "line 1:"},
		{goodFile, "a: [", "line 1:"},
		{goodFile, goodFile + "---\n{}\n", "one document"},
	} {
		if !strings.Contains(goodFile, c.replace) {
			t.Fatalf("the good file has no %q", c.replace)
		}
		path := write(t, strings.Replace(goodFile, c.replace, c.by, 1))
		_, err := Read(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", c.by, err)
		}
	}
	twice := strings.Replace(goodFile, "certificates:", "  - {name: k8s, url: 'https://b.example', audiences: [a]}\ncertificates:", 1)
	if _, err := Read(write(t, twice)); err == nil || !strings.Contains(err.Error(), "line 22: issuers.1.name") {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is read")
	}
	if _, err := Read(write(t, strings.Repeat("#", maxFile+1))); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a large file: %v", err)
	}
}

// The document shows files that a server can use.
func TestTheFilesOfTheDocumentAreGood(t *testing.T) {
	document, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, block := range strings.Split(string(document), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "issuers:") {
			continue
		}
		found++
		for _, line := range strings.Split(block, "\n") { // the registry's machine has the file, the test's has not
			if strings.Contains(line, " ca: ") {
				block = strings.Replace(block, line+"\n", "", 1)
			}
		}
		if _, err := Read(write(t, block)); err != nil {
			t.Error(err)
		}
	}
	if found != 3 {
		t.Errorf("the document has %d files", found)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte(goodFile))
	f.Add([]byte("issuers: [{rules: [{claims: &a {b: *a}}]}]"))
	f.Add([]byte("a: &a [*a]\nissuers: *a"))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := parse("file", content)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q gives more than a line: %s", content, err)
		}
		if err == nil {
			_ = c.Summary()
		}
	})
}
