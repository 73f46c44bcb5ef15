package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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
	pair := func(key, value int) map[string]string {
		return map[string]string{strings.Repeat("k", key): strings.Repeat("v", value)}
	}
	pairs := func(n, value int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint(i)] = strings.Repeat("v", value)
		}
		return m
	}
	longTags := func(n, size int) (tags []string) {
		for i := range n {
			tags = append(tags, fmt.Sprint(i)+strings.Repeat("t", size-1))
		}
		return tags
	}
	cases := map[string]struct {
		change func(*domain.RegisterInstance)
		field  string // "" where the command is fine
	}{
		"as it is":                  {func(*domain.RegisterInstance) {}, ""},
		"service of 129 bytes":      {func(c *domain.RegisterInstance) { c.Key.Service = strings.Repeat("a", 129) }, "service"},
		"service of 128 bytes":      {func(c *domain.RegisterInstance) { c.Key.Service = strings.Repeat("a", 128) }, ""},
		"service with capitals":     {func(c *domain.RegisterInstance) { c.Key.Service = "Shop.Cart_v2-B" }, ""},
		"service that begins so":    {func(c *domain.RegisterInstance) { c.Key.Service = ".shop" }, "service"},
		"service that ends so":      {func(c *domain.RegisterInstance) { c.Key.Service = "shop_" }, "service"},
		"service with a slash":      {func(c *domain.RegisterInstance) { c.Key.Service = "a/b" }, "service"},
		"namespace with capitals":   {func(c *domain.RegisterInstance) { c.Key.Namespace = "Shop" }, "namespace"},
		"namespace with a dot":      {func(c *domain.RegisterInstance) { c.Key.Namespace = "a.b" }, "namespace"},
		"namespace with a slash":    {func(c *domain.RegisterInstance) { c.Key.Namespace = "a/b" }, "namespace"},
		"service that ends in dash": {func(c *domain.RegisterInstance) { c.Key.Service = "a-" }, "service"},
		"empty id":                  {func(c *domain.RegisterInstance) { c.Key.ID = "" }, "id"},
		"id of 256":                 {func(c *domain.RegisterInstance) { c.Key.ID = strings.Repeat("a", 256) }, ""},
		"id of 257":                 {func(c *domain.RegisterInstance) { c.Key.ID = strings.Repeat("a", 257) }, "id"},
		"id of marks":               {func(c *domain.RegisterInstance) { c.Key.ID = "!$&'()*+,-.:;<=>@[]^_`{|}~" }, ""},
		"id of one dot":             {func(c *domain.RegisterInstance) { c.Key.ID = "." }, "id"},
		"id of two dots":            {func(c *domain.RegisterInstance) { c.Key.ID = ".." }, "id"},
		"id of three dots":          {func(c *domain.RegisterInstance) { c.Key.ID = "..." }, ""},
		"id with a space":           {func(c *domain.RegisterInstance) { c.Key.ID = "a b" }, "id"},
		"id with a slash":           {func(c *domain.RegisterInstance) { c.Key.ID = "a/b" }, "id"},
		"id with a backslash":       {func(c *domain.RegisterInstance) { c.Key.ID = `a\b` }, "id"},
		"id with a question mark":   {func(c *domain.RegisterInstance) { c.Key.ID = "a?b" }, "id"},
		"id with a hash":            {func(c *domain.RegisterInstance) { c.Key.ID = "a#b" }, "id"},
		"id with a percent sign":    {func(c *domain.RegisterInstance) { c.Key.ID = "a%b" }, "id"},
		"id with a quote":           {func(c *domain.RegisterInstance) { c.Key.ID = `a"b` }, "id"},
		"id beyond ASCII":           {func(c *domain.RegisterInstance) { c.Key.ID = "ü" }, "id"},
		"owner of 256":              {func(c *domain.RegisterInstance) { c.Owner = strings.Repeat("a", 256) }, ""},
		"owner of 257":              {func(c *domain.RegisterInstance) { c.Owner = strings.Repeat("a", 257) }, "owner"},
		"owner with a space":        {func(c *domain.RegisterInstance) { c.Owner = "a b" }, "owner"},
		"id with a line break":      {func(c *domain.RegisterInstance) { c.Key.ID = "a\nb" }, "id"},
		"no address":                {func(c *domain.RegisterInstance) { c.Details.Address = "" }, "address"},
		"address out of range":      {func(c *domain.RegisterInstance) { c.Details.Address = "10.0.0.300" }, "address"},
		"address of one number":     {func(c *domain.RegisterInstance) { c.Details.Address = "0x7F000001" }, "address"},
		"unspecified in hex":        {func(c *domain.RegisterInstance) { c.Details.Address = "0x0" }, "address"},
		"address of IPv6":           {func(c *domain.RegisterInstance) { c.Details.Address = "2001:db8::1" }, ""},
		"address in brackets":       {func(c *domain.RegisterInstance) { c.Details.Address = "[2001:db8::1]" }, ""},
		"IPv4 in brackets":          {func(c *domain.RegisterInstance) { c.Details.Address = "[10.0.0.5]" }, "address"},
		"one bracket":               {func(c *domain.RegisterInstance) { c.Details.Address = "[2001:db8::1" }, "address"},
		"name in brackets":          {func(c *domain.RegisterInstance) { c.Details.Address = "[db]" }, "address"},
		"address with a zone":       {func(c *domain.RegisterInstance) { c.Details.Address = "fe80::1%eth0" }, "address"},
		"unspecified IPv4":          {func(c *domain.RegisterInstance) { c.Details.Address = "0.0.0.0" }, "address"},
		"unspecified IPv6":          {func(c *domain.RegisterInstance) { c.Details.Address = "::" }, "address"},
		"unspecified in brackets":   {func(c *domain.RegisterInstance) { c.Details.Address = "[::]" }, "address"},
		"unspecified at length":     {func(c *domain.RegisterInstance) { c.Details.Address = "0:0:0:0:0:0:0:0" }, "address"},
		"unspecified and mapped":    {func(c *domain.RegisterInstance) { c.Details.Address = "::ffff:0.0.0.0" }, "address"},
		"name with underscores":     {func(c *domain.RegisterInstance) { c.Details.Address = "_db_1.shop_net" }, ""},
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
		"value of 4 KiB":            {func(c *domain.RegisterInstance) { c.Details.Metadata = pair(1, 4096) }, ""},
		"value over 4 KiB":          {func(c *domain.RegisterInstance) { c.Details.Metadata = pair(1, 4097) }, "metadata.k"},
		"value of 4 KiB of letters": {func(c *domain.RegisterInstance) {
			c.Details.Metadata = map[string]string{"k": strings.Repeat("ü", 2049)}
		}, "metadata.k"},
		"key of 128":                {func(c *domain.RegisterInstance) { c.Details.Metadata = pair(128, 0) }, ""},
		"key of 129":                {func(c *domain.RegisterInstance) { c.Details.Metadata = pair(129, 0) }, "metadata"},
		"16 KiB of metadata":        {func(c *domain.RegisterInstance) { c.Details.Metadata = pairs(4, 4095) }, ""},
		"over 16 KiB of metadata":   {func(c *domain.RegisterInstance) { c.Details.Metadata = pairs(4, 4096) }, "metadata"},
		"tag of 4 KiB":              {func(c *domain.RegisterInstance) { c.Details.Tags = []string{strings.Repeat("a", 4096)} }, ""},
		"tag over 4 KiB":            {func(c *domain.RegisterInstance) { c.Details.Tags = []string{strings.Repeat("a", 4097)} }, "tags[0]"},
		"16 KiB of tags":            {func(c *domain.RegisterInstance) { c.Details.Tags = longTags(4, 4096) }, ""},
		"over 16 KiB of tags":       {func(c *domain.RegisterInstance) { c.Details.Tags = longTags(5, 3300) }, "tags"},
		"a tag twice":               {func(c *domain.RegisterInstance) { c.Details.Tags = []string{"b", "a", "b"} }, "tags[2]"},
		"tags that differ in case":  {func(c *domain.RegisterInstance) { c.Details.Tags = []string{"b", "B"} }, ""},
		"no status":                 {func(c *domain.RegisterInstance) { c.Details.Status = "" }, ""},
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

func TestTagsKeepTheirOrder(t *testing.T) {
	one := moved(func(d *domain.Details) { d.Tags = []string{"b", "a"} })
	other := moved(func(d *domain.Details) { d.Tags = []string{"a", "b"} })
	then, err := domain.Decide(fold([]domain.Event{domain.InstanceRegistered{Epoch: 1, Details: one}}), domain.RegisterInstance{Key: key, Details: other})
	if want := []domain.Event{domain.InstanceUpdated{Epoch: 1, Changed: []string{"tags"}, Details: other}}; err != nil || !reflect.DeepEqual(then, want) {
		t.Errorf("decided %+v, %v, want %+v", then, err, want)
	}
}

func TestAnAddressHasOneSpelling(t *testing.T) {
	for given, want := range map[string]string{
		"10.0.0.5": "10.0.0.5", "2001:DB8:0:0:0:0:0:1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1", "2001:db8::0:1": "2001:db8::1",
		"::ffff:10.0.0.5": "::ffff:10.0.0.5", "Db-1.Example.com": "db-1.example.com", "db.example.com.": "db.example.com.", "DB_1": "db_1",
	} {
		d := moved(func(d *domain.Details) { d.Address = given })
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", given, err)
		}
		if got := d.Normalize().Address; got != want {
			t.Errorf("%s is stored as %s, want %s", given, got, want)
		}
		again := moved(func(d *domain.Details) { d.Address = d.Normalize().Address })
		if again.Normalize().Address != again.Address {
			t.Errorf("%s is no form that stays", again.Address)
		}
	}
}

func TestAnOriginIsAJSONObject(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, `{}`: true, `{"a":[1,{"b":"<x>"}]}`: true, `{"a":"` + strings.Repeat("x", domain.MaxOrigin-8) + `"}`: true,
		`{"a":"` + strings.Repeat("x", domain.MaxOrigin) + `"}`: false, `[]`: false, `"a"`: false, `{`: false, `{} {}`: false,
	} {
		d := domain.Details{Address: "a", TTL: domain.Duration(time.Minute), Origin: domain.Origin(text)}
		if err := d.Validate(); (err == nil) != ok {
			t.Errorf("%.40q gives %v", text, err)
		}
	}
	var d, again domain.Details
	if err := json.Unmarshal([]byte(`{"origin": { "a" : "<&>" } }`), &d); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &again); err != nil || d.Origin != again.Origin || d.Origin == "" {
		t.Errorf("%q was read again as %q, %v", d.Origin, again.Origin, err)
	}
	if json.Unmarshal([]byte(`{"origin":[]}`), &d) == nil {
		t.Error("an array is an origin")
	}
}
