package main

import (
	"encoding/csv"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rollcall-registry/rollcall/queries"
)

var (
	errWhole    = errors.New("must be a whole number in decimal digits, such as 10")
	errDecimal  = errors.New("must be a number in decimal digits, such as 10 or 2.5")
	errLarge    = errors.New("is too large a number")
	errSigned   = errors.New("must not be negative")
	errSwitch   = errors.New("must be true or false")
	errDuration = errors.New(`must be a duration such as "30s" or "5m"`)
	errNegative = errors.New(`must not be negative: a duration such as "30s" or "5m"`)
)

// plainNumber is the value of a flag that takes a number, or true or false. It takes the forms that parameters of the API take, and a sign: the library
// reads 010 as 8, and 0x10 and 1_000 besides.
type plainNumber struct {
	pflag.Value
	check func(text string) error
}

// Set implements pflag.Value.
func (n plainNumber) Set(text string) error {
	if err := n.check(text); err != nil {
		return err
	}
	err := n.Value.Set(text)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return errLarge
	case err != nil && strings.HasPrefix(err.Error(), "time: "): // the words of Go's library
		return errDuration
	}
	return err
}

// plainNumbers makes the flags of a command and of those below it take numbers as a plainNumber does.
func plainNumbers(c *cobra.Command) {
	for _, sub := range c.Commands() {
		plainNumbers(sub)
	}
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if _, done := f.Value.(plainNumber); done {
				return
			}
			if check := numberCheck(f.Value.Type()); check != nil {
				f.Value = plainNumber{f.Value, check}
			}
		})
	}
}

func numberCheck(kind string) func(string) error {
	switch kind {
	case "int", "int32", "int64":
		return checkWhole
	case "uint", "uint16", "uint32", "uint64":
		return checkUnsigned
	case "bool":
		return checkSwitch
	case "float64":
		return checkDecimal
	case "duration":
		return checkDuration
	case "stringToInt":
		return checkPairs
	}
	return nil
}

func checkWhole(text string) error {
	if !queries.IsWhole(strings.TrimPrefix(text, "-")) {
		return errWhole
	}
	return nil
}

func checkUnsigned(text string) error {
	if err := checkWhole(text); err != nil {
		return err
	}
	if strings.HasPrefix(text, "-") {
		return errSigned
	}
	return nil
}

func checkSwitch(text string) error {
	if _, err := strconv.ParseBool(text); err != nil {
		return errSwitch
	}
	return nil
}

func checkDecimal(text string) error {
	if !queries.IsDecimal(strings.TrimPrefix(text, "-")) {
		return errDecimal
	}
	return nil
}

// checkDuration refuses signs, for no flag means a time before another, and what is no duration.
func checkDuration(text string) error {
	if strings.HasPrefix(text, "-") {
		return errNegative
	}
	if text == "" || text[0] == '+' || text != strings.TrimSpace(text) {
		return errDuration
	}
	return nil
}

// checkPairs holds the numbers of pairs such as http=8080 to the rule.
func checkPairs(text string) error {
	pairs, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil // the flag itself says what is wrong
	}
	for _, pair := range pairs {
		if _, value, ok := strings.Cut(pair, "="); ok {
			if err := checkWhole(value); err != nil {
				return err
			}
		}
	}
	return nil
}
