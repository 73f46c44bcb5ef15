package disposable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// keptAside is how many folders that were put aside are kept, so that an operator can look at them.
const keptAside = 2

// PutAside renames a folder to DIR.bad-N and gives the new name. N is larger than the number of every folder that was put
// aside before. Only the newest keptAside of these folders stay.
func PutAside(dir string) (string, error) {
	aside, err := setAside(dir)
	if err != nil {
		return "", err
	}
	next := 1
	if len(aside) > 0 {
		next = aside[len(aside)-1] + 1
	}
	to := nameAside(dir, next)
	if err := os.Rename(dir, to); err != nil {
		return "", err
	}
	for _, n := range aside[:max(0, len(aside)+1-keptAside)] {
		err = errors.Join(err, os.RemoveAll(nameAside(dir, n)))
	}
	return to, err
}

func nameAside(dir string, n int) string { return fmt.Sprintf("%s.bad-%d", dir, n) }

// setAside lists the numbers of the folders that were put aside, in order.
func setAside(dir string) (numbers []int, err error) {
	siblings, err := os.ReadDir(filepath.Dir(dir))
	for _, s := range siblings {
		if rest, ok := strings.CutPrefix(s.Name(), filepath.Base(dir)+".bad-"); ok {
			if n, err := strconv.Atoi(rest); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, err
}
