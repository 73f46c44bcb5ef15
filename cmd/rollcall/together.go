package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// needsFlag refuses a flag that was given without the flag that it belongs to: it would say nothing.
func needsFlag(c *cobra.Command, flag, other string) error {
	if c.Flags().Changed(flag) && !c.Flags().Changed(other) {
		return usageError{fmt.Errorf("--%s needs --%s", flag, other)}
	}
	return nil
}

// notTogether refuses two flags of which only one can be meant.
func notTogether(c *cobra.Command, one, other string) error {
	if c.Flags().Changed(one) && c.Flags().Changed(other) {
		return usageError{fmt.Errorf("--%s and --%s do not go together", one, other)}
	}
	return nil
}
