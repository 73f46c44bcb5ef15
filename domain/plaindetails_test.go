package domain

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What is read of a registration or an update without decoding is what decoding reads, however the data was changed.
func TestRegistrationsInThePlainFormAreReadAsDecodingReadsThem(t *testing.T) {
	same := func(t rapid.TB, data []byte) (plain bool) {
		registered, isRegistered := plainRegistered(data)
		updated, isUpdated := plainUpdated(data)
		var wantRegistered InstanceRegistered
		if err := json.Unmarshal(data, &wantRegistered); isRegistered && (err != nil || !reflect.DeepEqual(registered, wantRegistered)) {
			t.Errorf("%s is read as %+v, and decodes to %+v, %v", data, registered, wantRegistered, err)
		}
		var wantUpdated InstanceUpdated
		if err := json.Unmarshal(data, &wantUpdated); isUpdated && (err != nil || !reflect.DeepEqual(updated, wantUpdated)) {
			t.Errorf("%s is read as %+v, and decodes to %+v, %v", data, updated, wantUpdated, err)
		}
		return isRegistered || isUpdated
	}
	const whole = `{"epoch":3,"owner":"o","replaces":2,"reported":"passing","address":"10.0.0.1","ports":{"grpc":90,"http":80},"tags":["a","b"],"metadata":{"k":"v","x":""},` +
		`"zone":"z","version":"1","weight":100,"status":"critical","ttl":"30s","on_lapse":"critical","remove_after":"1h0m0s"}`
	if !same(t, []byte(whole)) {
		t.Errorf("%s is not read in the plain form", whole)
	}
	for _, change := range [][2]string{
		{`"epoch":3`, `"epoch":03`}, {`"epoch":3`, `"epoch":-3`}, {`{"grpc":90,"http":80}`, `{}`}, {`["a","b"]`, `[]`}, {`"http":80`, `"grpc":80`}, {`80`, `65536`}, {`80`, `0`},
		{`"30s"`, `"x"`}, {`"30s"`, `"none"`}, {`"1h0m0s"`, `""`}, {`"weight":100`, `"weight":1e2`}, {`"critical","ttl"`, `"odd","ttl"`}, {`"z"`, `"\u0041"`}, {`"z"`, `null`},
		{`"b"]`, `"b",]`}, {`"zone"`, `"checks":[],"zone"`}, {`"zone":"z",`, `"zone":"z","zone":"y",`}, {`}`, `} `}, {`"address":"10.0.0.1",`, ``}, {`"x":""`, `"x"`}, {`"replaces":2`, `"replaces":"2"`},
	} {
		same(t, []byte(strings.Replace(whole, change[0], change[1], 1)))
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "a", "eu-1a", `a "b"`, `\`, "ähm", "<b>", "\x01", `","weight":1`})
		number := rapid.Uint16()
		maybe := rapid.SampledFrom([]Status{"", Passing, Critical, "odd"})
		ttl := rapid.SampledFrom([]Duration{0, NoTTL, Duration(time.Second), Duration(90 * time.Minute), Duration(1500 * time.Microsecond)})
		d := Details{
			Address: text.Draw(t, "address"), Ports: rapid.MapOfN(text, number, 0, 3).Draw(t, "ports"), Tags: rapid.SliceOfN(text, 0, 3).Draw(t, "tags"),
			Metadata: rapid.MapOfN(text, text, 0, 3).Draw(t, "metadata"), Zone: text.Draw(t, "zone"), Version: text.Draw(t, "version"), Weight: number.Draw(t, "weight"),
			Status: maybe.Draw(t, "status"), TTL: ttl.Draw(t, "ttl"), OnLapse: rapid.SampledFrom([]LapsePolicy{"", LapseCritical}).Draw(t, "on lapse"), RemoveAfter: ttl.Draw(t, "remove after"),
			Origin: rapid.SampledFrom([]Origin{"", `{"a":1}`}).Draw(t, "origin"),
		}
		for _, e := range []Event{
			InstanceRegistered{Epoch: rapid.Uint64().Draw(t, "epoch"), Owner: text.Draw(t, "owner"), Replaces: uint64(number.Draw(t, "replaces")), Reported: maybe.Draw(t, "reported"), Details: d},
			InstanceUpdated{Epoch: 1, Owner: text.Draw(t, "owner"), Changed: rapid.SliceOfN(text, 0, 3).Draw(t, "changed"), PreviousStatus: maybe.Draw(t, "previous"), Details: d},
		} {
			data, err := Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			same(t, data)
			data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			same(t, data)
		}
	})
}

// What Rollcall writes of usual instances is read without decoding.
func TestUsualRegistrationsAreReadWithoutDecoding(t *testing.T) {
	d := Details{Address: "10.0.0.1", Ports: map[string]uint16{"http": 80}, Tags: []string{"a"}, Metadata: map[string]string{"k": "v"}, Zone: "z", Version: "1", Weight: 100, Status: Passing, TTL: NoTTL}
	data, err := Encode(InstanceRegistered{Epoch: 1, Details: d})
	if _, ok := plainRegistered(data); !ok || err != nil {
		t.Errorf("%s (%v) is not read in the plain form", data, err)
	}
	data, err = Encode(InstanceUpdated{Epoch: 1, Changed: []string{"zone", "status"}, PreviousStatus: Warning, Details: d})
	if _, ok := plainUpdated(data); !ok || err != nil {
		t.Errorf("%s (%v) is not read in the plain form", data, err)
	}
}
