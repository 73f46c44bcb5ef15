package encoded_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/encoded"
)

func TestAFormIsFoundWhileItIsKeptOrSomeoneHasIt(t *testing.T) {
	kept := encoded.Kept{Limit: 1000}
	form := func(i int) encoded.Form {
		return encoded.Form{Bytes: fmt.Appendf(make([]byte, 0, 400), "%0400d", i), ETag: fmt.Sprint(i)}
	}
	first := form(0)
	kept.Put("0", first)
	for i := range 3 {
		kept.Put(fmt.Sprint(i+1), form(i+1))
	}
	runtime.GC()
	for name, want := range map[string]bool{"0": true, "1": false, "2": true, "3": true, "4": false} {
		got, ok := kept.Find(name)
		if ok != want || ok && (got.ETag != name || string(got.Bytes) != string(form(int(name[0]-'0')).Bytes)) {
			t.Errorf("form %s is found: %v, want %v", name, ok, want)
		}
	}
	if got, ok := kept.Find("0"); !ok || &got.Bytes[0] != &first.Bytes[0] {
		t.Error("what is sent is not what is found")
	}
	runtime.KeepAlive(first)
}

func TestAFormLargerThanTheLimitIsNotKept(t *testing.T) {
	kept := encoded.Kept{Limit: 10}
	kept.Put("large", encoded.Form{Bytes: make([]byte, 1000)})
	runtime.GC()
	if _, ok := kept.Find("large"); ok {
		t.Error("a form larger than the limit is kept")
	}
}
