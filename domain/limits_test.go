package domain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-registry/rollcall/domain"
)

func TestRegistrationIsHeldToTheLimits(t *testing.T) {
	many := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = ""
		}
		return m
	}
	cases := map[string]struct {
		change func(*domain.RegisterInstance)
		field  string // "" where the command is fine
	}{
		"as it is":                  {func(*domain.RegisterInstance) {}, ""},
		"upper-case service":        {func(c *domain.RegisterInstance) { c.Key.Service = "Shop" }, "service"},
		"service of 64":             {func(c *domain.RegisterInstance) { c.Key.Service = strings.Repeat("a", 64) }, "service"},
		"service of 63":             {func(c *domain.RegisterInstance) { c.Key.Service = strings.Repeat("a", 63) }, ""},
		"namespace with a slash":    {func(c *domain.RegisterInstance) { c.Key.Namespace = "a/b" }, "namespace"},
		"service that ends in dash": {func(c *domain.RegisterInstance) { c.Key.Service = "a-" }, "service"},
		"empty id":                  {func(c *domain.RegisterInstance) { c.Key.ID = "" }, "id"},
		"id of 128":                 {func(c *domain.RegisterInstance) { c.Key.ID = strings.Repeat("a", 128) }, ""},
		"id of 129":                 {func(c *domain.RegisterInstance) { c.Key.ID = strings.Repeat("a", 129) }, "id"},
		"id with a line break":      {func(c *domain.RegisterInstance) { c.Key.ID = "a\nb" }, "id"},
		"no address":                {func(c *domain.RegisterInstance) { c.Details.Address = "" }, "address"},
		"address out of range":      {func(c *domain.RegisterInstance) { c.Details.Address = "10.0.0.300" }, "address"},
		"address of IPv6":           {func(c *domain.RegisterInstance) { c.Details.Address = "2001:db8::1" }, ""},
		"address by name":           {func(c *domain.RegisterInstance) { c.Details.Address = "db-1.Example.com." }, ""},
		"address with a port":       {func(c *domain.RegisterInstance) { c.Details.Address = "10.0.0.5:80" }, "address"},
		"address of two dots":       {func(c *domain.RegisterInstance) { c.Details.Address = "a..b" }, "address"},
		"port 0":                    {func(c *domain.RegisterInstance) { c.Details.Ports = map[string]uint16{"http": 0} }, "ports.http"},
		"port with a bad name":      {func(c *domain.RegisterInstance) { c.Details.Ports = map[string]uint16{"h t": 1} }, "ports"},
		"empty tag":                 {func(c *domain.RegisterInstance) { c.Details.Tags = []string{"a", ""} }, "tags[1]"},
		"tag of bad UTF-8":          {func(c *domain.RegisterInstance) { c.Details.Tags = []string{"\xff"} }, "tags[0]"},
		"65 tags":                   {func(c *domain.RegisterInstance) { c.Details.Tags = make([]string, 65) }, "tags"},
		"64 pairs":                  {func(c *domain.RegisterInstance) { c.Details.Metadata = many(64) }, ""},
		"65 pairs":                  {func(c *domain.RegisterInstance) { c.Details.Metadata = many(65) }, "metadata"},
		"value over 1 KiB": {func(c *domain.RegisterInstance) {
			c.Details.Metadata = map[string]string{"k": strings.Repeat("v", 1025)}
		}, "metadata.k"},
		"unknown status":            {func(c *domain.RegisterInstance) { c.Details.Status = "fine" }, "status"},
		"ttl under a second":        {func(c *domain.RegisterInstance) { c.Details.TTL = domain.Duration(time.Second - 1) }, "ttl"},
		"negative ttl":              {func(c *domain.RegisterInstance) { c.Details.TTL = -1 }, "ttl"},
		"ttl of a day":              {func(c *domain.RegisterInstance) { c.Details.TTL = domain.Duration(24 * time.Hour) }, ""},
		"ttl over a day":            {func(c *domain.RegisterInstance) { c.Details.TTL = domain.Duration(24*time.Hour + 1) }, "ttl"},
		"control character in zone": {func(c *domain.RegisterInstance) { c.Details.Zone = "eu\x00" }, "zone"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			command := domain.RegisterInstance{Key: key, Details: details}
			c.change(&command)
			var invalid domain.InvalidField
			if err := command.Validate(); err != nil && !errors.As(err, &invalid) {
				t.Fatalf("not an InvalidField: %v", err)
			}
			if invalid.Field != c.field {
				t.Fatalf("refused field %q, want %q (%s)", invalid.Field, c.field, invalid.Rule)
			}
		})
	}
}
