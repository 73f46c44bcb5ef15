package encoded_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rollcall-registry/rollcall/projections/encoded"
)

func TestAFormatIsEncodedOnceHoweverManyAsk(t *testing.T) {
	var memo encoded.Memo
	var made atomic.Int64
	var asking sync.WaitGroup
	for i := range 64 {
		asking.Go(func() {
			format := fmt.Sprint("format ", i%4)
			got := memo.Get(format, func() encoded.Form {
				made.Add(1)
				return encoded.Tagged([]byte(format))
			})
			if string(got.Bytes) != format || got.ETag != encoded.ETag([]byte(format)) {
				t.Errorf("%s came as %q, %s", format, got.Bytes, got.ETag)
			}
		})
	}
	asking.Wait()
	if made.Load() != 4 {
		t.Errorf("four formats were encoded %d times", made.Load())
	}
}

func TestFormatsBeyondTheBoundAreEncodedButNotKept(t *testing.T) {
	var memo encoded.Memo
	for round := range 2 {
		made := 0
		for i := range 100 {
			memo.Get(fmt.Sprint(i), func() encoded.Form { made++; return encoded.Form{} })
		}
		if want := []int{100, 36}[round]; made != want {
			t.Errorf("round %d encoded %d formats, not %d", round, made, want)
		}
	}
}
