package domain

// Streak counts the results in a row of a probed check that are failures, or that are none. The zero Streak has none.
type Streak struct {
	Failing bool
	Results int // in a row; it does not grow beyond MaxThreshold
}

// After is the streak after another result. decided is true if the results in a row are as many as the check asks for:
// then the check has the status of the result. A warning is no failure.
func (s Streak) After(c Check, result Status) (after Streak, decided bool) {
	failing := result == Critical
	if s.Results == 0 || s.Failing != failing {
		s = Streak{Failing: failing}
	}
	s.Results = min(s.Results+1, MaxThreshold)
	need := c.Successes
	if failing {
		need = c.Failures
	}
	return s, s.Results >= max(need, 1)
}
