package httpapi

import (
	"encoding/json"
	"reflect"
	"testing"

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
			if err := decodeStrict(body, &want); err != nil {
				t.Fatalf("%s is refused (%v), and was read as %+v", body, err, plain.registration)
			}
			got, err := plain.command(domain.Key{})
			if wanted, wantErr := want.command(domain.Key{}); (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, wanted) {
				t.Errorf("%s is %+v (%v), and was read as %+v (%v)", body, wanted, wantErr, got, err)
			}
		}
		reader := plainRegistration{}
		for _, before := range []string{sameTexts, otherTexts} { // what was read before changes nothing
			if _, ok := reader.item([]byte(before)); !ok {
				t.Fatalf("%s is not plain", before)
			}
			if request, ok := reader.item(body); ok {
				if want, err := parseCommand(body); err != nil || !reflect.DeepEqual(request, want) {
					t.Errorf("%s is %+v (%v), and was read as %+v", body, want, err, request)
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
		split, ok := splitArray([]byte(body))
		if ok != (want >= 0) || ok && len(split) != want {
			t.Errorf("%s is split into %q (%v)", body, split, ok)
		}
		for _, item := range split {
			if ok && !json.Valid(item) {
				t.Errorf("%s has the item %s", body, item)
			}
		}
	}
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
			if err := decodeStrict([]byte(plainBodies[0]), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
