package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// flagOfVariable is the flag that ROLLCALL_TLS_CERT stands for: --tls-cert.
func flagOfVariable(name string) string {
	return "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "ROLLCALL_"), "_", "-"))
}

// The commands of the Dockerfile are run as they are written, with a loopback address and a folder of the test.
func TestTheContainerStartsSecureAndIsHealthy(t *testing.T) {
	file, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"ROLLCALL_LOG_FORMAT=json"}
	commands := map[string][]string{}
	for line := range strings.Lines(string(file)) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "ENV":
			env = append(env, strings.Fields(rest)...)
		case "ENTRYPOINT", "CMD", "HEALTHCHECK":
			var words []string
			if err := json.Unmarshal([]byte(rest[strings.Index(rest, "["):]), &words); err != nil {
				t.Fatal(err)
			}
			commands[instruction] = words
		}
	}
	if all := strings.Join(env, " "); !strings.Contains(all, "ROLLCALL_ACCESS=on") || strings.Contains(all, "INSECURE") {
		t.Errorf("the image is not secure: %s", all)
	}
	data := t.TempDir()
	env = append(env, "ROLLCALL_LISTEN=127.0.0.1:0", "ROLLCALL_DATA="+data)
	in := func(words ...string) *exec.Cmd {
		c := exec.Command(path, words[1:]...)
		c.Env = append(os.Environ(), env...)
		if words[0] != "/rollcall" {
			t.Fatalf("%v is no command of the image", words)
		}
		return c
	}
	if out, err := in(commands["HEALTHCHECK"]...).CombinedOutput(); err == nil {
		t.Errorf("a container without a server is healthy: %s", out)
	}
	p := startCommand(t, in(append(commands["ENTRYPOINT"], commands["CMD"]...)...))
	if out, err := in(commands["HEALTHCHECK"]...).CombinedOutput(); err != nil {
		t.Errorf("the container is not healthy: %v %s", err, out)
	}
	told := regexp.MustCompile(`docker exec CONTAINER (/rollcall token create .*)`).FindStringSubmatch(string(file))
	if told == nil {
		t.Fatal("the Dockerfile does not tell how to make a token")
	}
	out, err := in(strings.Fields(told[1])...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if status, _, err := p.send("GET", "/v1/services", ""); status != 401 {
		t.Errorf("without a token: %d %v", status, err)
	}
	if _, errs, code := run(t, []string{"ROLLCALL_URL=" + p.url, "ROLLCALL_TOKEN=" + secret.FindString(string(out))}, "services"); code != 0 {
		t.Errorf("with the token: %s", errs)
	}
}

// The settings of the compose recipes are ones that serve has, and turn access on.
func TestTheComposeRecipesHaveSettingsOfServe(t *testing.T) {
	help, _, _ := run(t, nil, "serve", "--help")
	for _, name := range []string{"single", "cluster"} {
		file, err := os.ReadFile(filepath.Join("../../docs/recipes", name, "compose.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var recipe struct {
			Services map[string]struct {
				Environment map[string]string
			}
		}
		if err := yaml.Unmarshal(file, &recipe); err != nil {
			t.Fatal(err)
		}
		registries := 0
		for service, s := range recipe.Services {
			if s.Environment["ROLLCALL_LISTEN"] == "" {
				continue
			}
			if registries++; s.Environment["ROLLCALL_ACCESS"] != "on" {
				t.Errorf("%s of %s leaves access off", service, name)
			}
			for variable := range s.Environment {
				if !strings.Contains(help, flagOfVariable(variable)+" ") {
					t.Errorf("%s of %s: serve has no %s", service, name, flagOfVariable(variable))
				}
			}
		}
		if registries == 0 {
			t.Errorf("%s runs no registry", name)
		}
	}
}

// The units are ones that systemd takes, and their commands have flags that there are.
func TestTheUnitsAreTakenBySystemd(t *testing.T) {
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rollcall.service", "rollcall-agent.service"} {
		file, err := os.ReadFile(filepath.Join("../../docs/recipes", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^#? *ExecStart=/usr/local/bin/rollcall (.+)$`).FindAllStringSubmatch(string(file), -1) {
			words := append(strings.Fields(strings.ReplaceAll(found[1], "%S", t.TempDir())), "--help") // what comes before is read first
			if _, errs, code := run(t, nil, words...); code != 0 {
				t.Errorf("%s: %s: %s", name, found[1], errs)
			}
		}
		if _, err := exec.LookPath("systemd-analyze"); err != nil {
			t.Log("systemd-analyze is not installed (apt install systemd): the units are not verified")
			continue
		}
		unit := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(file), "/usr/local/bin/rollcall", path)), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), name) {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}
