package main

import (
	"encoding/csv"
	"errors"
	"io"
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
	errQuotes   = errors.New(`must have its quotes around whole values only; a quote within them is written twice`)
	errLines    = errors.New("must be one line, with commas between its values; the flag may be given again")
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

// plainList is the value of a flag that takes a list.
type plainList struct {
	plainNumber
	pflag.SliceValue
}

// plainValues makes the flags of a command and of those below it, also those that cobra adds, refuse a value in plain words.
func plainValues(c *cobra.Command) {
	for _, sub := range c.Commands() {
		plainValues(sub)
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	c.Flags().SetOutput(warnings{c})
	for _, flags := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			check := valueCheck(f.Value.Type())
			switch f.Value.(type) {
			case plainNumber, plainList:
				return
			}
			if list, ok := f.Value.(pflag.SliceValue); ok && check != nil {
				f.Value = plainList{plainNumber{f.Value, check}, list}
			} else if check != nil {
				f.Value = plainNumber{f.Value, check}
			}
		})
	}
}

// warnings is where the flags of a command warn, of an earlier name that is used: beside its output.
type warnings struct{ c *cobra.Command }

// Write implements io.Writer.
func (w warnings) Write(b []byte) (int, error) { return w.c.ErrOrStderr().Write(b) }

func valueCheck(kind string) func(string) error {
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
	case "stringSlice":
		return checkList
	case "stringToString":
		return checkTexts
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

// checkList refuses a list of several lines, of which the library would take the first and leave the others out.
func checkList(text string) error {
	if text == "" {
		return nil
	}
	lines := csv.NewReader(strings.NewReader(text))
	if _, err := lines.Read(); err != nil && !errors.Is(err, io.EOF) {
		return errQuotes
	}
	if _, err := lines.Read(); !errors.Is(err, io.EOF) {
		return errLines
	}
	return nil
}

// checkTexts is checkList for pairs such as team=shop. The library takes a text with one pair as it is, whatever lines its value has.
func checkTexts(text string) error {
	if strings.Count(text, "=") < 2 {
		return nil
	}
	return checkList(text)
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
