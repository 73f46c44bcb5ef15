package httpapi

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/rollcall-registry/rollcall/commands"
	"github.com/rollcall-registry/rollcall/domain"
)

var plainBodies = []string{
	`{"address":"10.0.0.5","ports":{"http":8080,"grpc":9000},"tags":["canary","b"],"metadata":{"team":"shop","é":"ü"},"zone":"eu-1a","version":"1.4.2","weight":100,"status":"passing","ttl":"1h","owner":"o","epoch":3}`,
	" { \"address\" :\t\"x\" , \"ports\" : { } , \"tags\" : [ ] , \"metadata\":{ }\r\n} ", `{}`,
	`{"type":"RegisterInstance","namespace":"shop","service":"cart","id":"a","address":"10.0.0.5"}`,
}

var otherBodies = []string{
	``, `null`, `[]`, `{`, `{"address"}`, `{"address":}`, `{"address":"a",}`, `{,}`, `{"address":"a"} x`, `{"address":"a\u0041"}`, "{\"address\":\"a\nb\"}", "{\"address\":\"\xff\"}",
	`{"address":null}`, `{"Address":"a"}`, `{"address":"a","address":"b"}`, `{"ports":{"a":1,"a":2}}`, `{"metadata":{"a":"1","a":"2"}}`, `{"ports":{"a":-1}}`,
	`{"ports":{"a":1.5}}`, `{"ports":{"a":1e3}}`, `{"ports":{"a":01}}`, `{"ports":{"a":99999999999999999999}}`, `{"weight":65536}`, `{"weight":1.0}`, `{"ttl":"x"}`, `{"ttl":"none"}`, `{"ttl":30}`,
	`{"epoch":18446744073709551615}`, `{"epoch":18446744073709551616}`, `{"tags":["a",null]}`, `{"tags":"a"}`, `{"origin":{}}`, `{"checks":[]}`, `{"unknown":1}`, `{"address":"a"`, `{"address":"a`, `{"tags":["a"`,
	`{"type":"SendHeartbeat","service":"cart","id":"a"}`, `{"service":"cart"}`,
}

const (
	sameTexts  = `{"type":"RegisterInstance","service":"cart","id":"a","ports":{"http":8080,"grpc":9000},"tags":["canary","b"],"metadata":{"team":"shop","é":"ü"}}`
	otherTexts = `{"type":"RegisterInstance","service":"cart","id":"b","ports":{},"tags":[],"metadata":{"team":"x"}}`
)

// What is read as a plain registration is what the JSON library reads, in a body of its own and in a batch.
func FuzzPlainRegistrations(f *testing.F) {
	for _, body := range append(plainBodies, otherBodies...) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var plain plainRegistration
		if plain.read(string(body), false) {
			var want registration
			if err := DecodeStrict(body, &want); err != nil {
				t.Fatalf("%s is refused (%v), and was read as %+v", body, err, plain.registration)
			}
			var got domain.RegisterInstance
			err := plain.register(&got, domain.Key{})
			if wanted, wantErr := want.command(domain.Key{}); (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(domain.Command(got), wanted) {
				t.Errorf("%s is %+v (%v), and was read as %+v (%v)", body, wanted, wantErr, got, err)
			}
		}
		reader := plainRegistration{}
		for _, before := range []string{sameTexts, otherTexts} { // what was read before changes nothing
			if reader.item(new(domain.RegisterInstance), []byte(before)) < 0 {
				t.Fatalf("%s is not plain", before)
			}
			if !utf8.Valid(body) {
				continue
			}
			var read domain.RegisterInstance
			if end := reader.item(&read, body); end >= 0 {
				body := body[:end]
				if want, err := parseCommand(body); err != nil || !reflect.DeepEqual(commands.Request{Command: read}, want) {
					t.Errorf("%s is %+v (%v), and was read as %+v", body, want, err, read)
				}
			}
		}
	})
}

func TestUsualRegistrationsArePlain(t *testing.T) {
	for i, body := range plainBodies {
		var plain plainRegistration
		if inBatch := i == len(plainBodies)-1; !plain.read(body, inBatch) {
			t.Errorf("%s is not plain", body)
		}
	}
	for _, body := range otherBodies {
		var plain plainRegistration
		if plain.read(body, false) {
			t.Errorf("%s is plain", body)
		}
	}
}

func TestAnArrayOfObjectsIsSplitWhereTheyEnd(t *testing.T) {
	for body, want := range map[string]int{
		`[{"a":"}]{["},{"b":[{}]} , {"c":"\\\""}]`: 3, `[{}]`: 1, `[]`: -1, `[{},]`: -1, `[{}`: -1, `[{}] x`: -1, `[1]`: -1, `{}`: -1, `[{} {}]`: -1, `[{"a]`: -1, `[{"a\`: -1, ``: -1,
	} {
		var plain plainRegistration
		split, _, ok := plain.split(nil, nil, []byte(body))
		if ok != (want >= 0) || ok && len(split) != want {
			t.Errorf("%s is split into %+v (%v)", body, split, ok)
		}
		for _, item := range split {
			if ok && !json.Valid(item) {
				t.Errorf("%s has the item %s", body, item)
			}
		}
	}
}

// An array is read as the JSON library would split it, and parseCommand would read its items, whatever stands beside an item.
func FuzzBatches(f *testing.F) {
	plain := []string{sameTexts, otherTexts, plainBodies[len(plainBodies)-1]}
	for _, a := range plain {
		for _, b := range append(plain, otherBodies...) {
			f.Add([]byte("[" + a + ", " + b + "\n," + a + "]"))
		}
	}
	f.Add([]byte(`[` + sameTexts + `]]`))
	f.Add([]byte(`[` + sameTexts + `{}]`))
	f.Add([]byte("[" + sameTexts + ",{\"address\":\"\xff\"}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var reader plainRegistration
		split, registrations, ok := reader.split(nil, nil, body)
		if !ok {
			return // the JSON library reads the body
		}
		var want []json.RawMessage
		valid, wrong := json.Unmarshal(body, &want) == nil, false
		if valid && len(want) != len(split) {
			t.Fatalf("%s has %d items, and was split into %+v", body, len(want), split)
		}
		plain := 0
		for i, item := range split {
			switch {
			case !valid: // some item is no JSON, and the body is refused for that
				wrong = wrong || item != nil && !json.Valid(item)
			case item != nil && string(item) != string(want[i]):
				t.Errorf("%s has the item %s, and was split into %s", body, want[i], item)
			case item == nil:
				read := commands.Request{Command: registrations[plain]}
				if request, err := parseCommand(want[i]); err != nil || !reflect.DeepEqual(request, read) {
					t.Errorf("%s is %+v (%v), and was read as %+v", want[i], request, err, read)
				}
				plain++
			}
		}
		if valid && plain != len(registrations) {
			t.Errorf("%s has %d plain registrations, of which %d are items", body, len(registrations), plain)
		}
		if !valid && !wrong {
			t.Errorf("%s is no JSON, and every item was taken for some", body)
		}
	})
}

func BenchmarkPlainRegistration(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r plainRegistration
			if !r.read(plainBodies[0], false) {
				b.Fatal("not plain")
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r registration
			if err := DecodeStrict([]byte(plainBodies[0]), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
