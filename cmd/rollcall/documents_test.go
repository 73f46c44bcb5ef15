package main

import (
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// files gives the text of each of the module's files whose name ends with one of the endings, by path.
func files(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(moduleRoot, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !slices.ContainsFunc(endings, func(ending string) bool { return strings.HasSuffix(file, ending) }):
			return nil
		}
		name, err := filepath.Rel(moduleRoot, file)
		texts[filepath.ToSlash(name)] = readText(t, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// manuals are the documents that tell of the product as it is. Decisions and the changelog tell of earlier ones, too.
func manuals(t *testing.T) map[string]string {
	all := files(t, ".md")
	maps.DeleteFunc(all, func(name, _ string) bool { return strings.HasPrefix(name, "docs/adr/") || name == "CHANGELOG.md" })
	if len(all) < 22 {
		t.Fatalf("found %d documents", len(all))
	}
	return all
}

var (
	fenced = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")
	spans  = regexp.MustCompile("`([^`\n]+)`")
)

// codeOf gives the code of a document: each line of a block (a line that ends with a backslash goes on), and each span.
func codeOf(text string) (code []string) {
	for _, block := range fenced.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(strings.ReplaceAll(block[2], "\\\n", " ")) {
			code = append(code, strings.TrimSpace(line))
		}
	}
	for _, span := range spans.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		code = append(code, span[1])
	}
	return code
}

var (
	calls = regexp.MustCompile(`(?:^|[\s(/"])rollcall ([a-z-][^|&;>#()]*)`)
	flags = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// ofOthers are flags of other programs.
var ofOthers = []string{"--default-non-nullable", "--prefix"}

// A command of ours that a document names exists, and has the flags that are given to it. A flag that is named alone exists somewhere.
func TestTheDocumentsNameCommandsAndFlagsThatExist(t *testing.T) {
	top := root()
	finish(top)
	known := map[string]bool{}
	for _, c := range append(leaves(top), top) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
	}
	named := 0
	for name, text := range manuals(t) {
		for _, code := range codeOf(text) {
			for _, call := range calls.FindAllStringSubmatch(code, -1) {
				named++
				checkCall(t, name, top, strings.Fields(call[1]))
			}
			first, _, _ := strings.Cut(code, " ")
			if c, _, err := top.Find([]string{first}); err == nil && c != top && strings.Contains(code, " ") {
				checkCall(t, name, top, strings.Fields(code)) // a command without the program's name, such as `backup verify`
			}
			if !strings.HasPrefix(code, "--") {
				continue
			}
			for _, flag := range flags.FindAllString(code, -1) {
				if !known[flag] && !slices.Contains(ofOthers, flag) {
					t.Errorf("%s names %s, which no command has", name, flag)
				}
			}
		}
	}
	for _, c := range append(leaves(top), top) { // the command line's own help, too
		for line := range strings.Lines(c.Example) {
			for _, call := range calls.FindAllStringSubmatch(line, -1) {
				checkCall(t, "the help of "+pathOf(c), top, strings.Fields(call[1]))
			}
		}
		for _, flag := range flags.FindAllString(c.Long+c.Short+c.LocalFlags().FlagUsages(), -1) {
			if !known[flag] && !slices.Contains(ofOthers, flag) {
				t.Errorf("the help of %s names %s, which no command has", pathOf(c), flag)
			}
		}
	}
	if named < 150 {
		t.Errorf("found %d commands", named)
	}
}

// checkCall judges the words of a call, up to those of another program.
func checkCall(t *testing.T, document string, top *cobra.Command, words []string) {
	t.Helper()
	if end := slices.Index(words, "--"); end >= 0 {
		words = words[:end]
	}
	c, rest, err := top.Find(words)
	if err == nil && len(c.Commands()) > 0 && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !c.Runnable() {
		err = knownCommand(c, rest)
	}
	if err != nil {
		t.Errorf("%s: rollcall %s: %v", document, strings.Join(words, " "), err)
		return
	}
	for i, word := range words {
		name := flags.FindString(word)
		if name == "" || !strings.HasPrefix(word, name) || name == "--help" || name == "--version" {
			continue
		}
		if flag := c.Flag(name[2:]); flag == nil {
			t.Errorf("%s: rollcall %s: %s has no %s", document, strings.Join(words, " "), c.CommandPath(), name)
		} else if flag.Deprecated != "" && document != "docs/cli.md" { // which tells what old names mean
			t.Errorf("%s: rollcall %s: %s %s", document, strings.Join(words, " "), name, flag.Deprecated)
		} else if name == "--only" && i+1 < len(words) {
			for value := range strings.SplitSeq(words[i+1], ",") {
				if !strings.Contains(flag.Usage+",", " "+value+",") {
					t.Errorf("%s: rollcall %s: there is no %s", document, strings.Join(words, " "), value)
				}
			}
		}
	}
}

var (
	variables   = regexp.MustCompile(`ROLLCALL_[A-Z_]*[A-Z]`)
	metricNames = regexp.MustCompile(`\brollcall_[a-z_]*[a-z]`)
	aTest       = regexp.MustCompile(`\b(Test|Fuzz|Benchmark|Example)[A-Z]\w+`)
	aPath       = regexp.MustCompile(`(?:^|[\s("'` + "`" + `])((?:\./)?(?:docs|cmd|adapters|domain|commands|queries|projections)/[\w./-]*\w)`)
	aPackage    = regexp.MustCompile(` \./([\w/]+\w)(/\.\.\.)?`)
	aTarget     = regexp.MustCompile(`\bmake ([a-z]+)`)
	anEvent     = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]+)+$|^Rollcall-[A-Z][\w-]+$`)
	aRun        = regexp.MustCompile(`-(?:run|bench) '?([\w|]+)`)
)

// What documents name of the code exists: events, headers, variables of the environment, metrics, tests, make's targets, files and folders.
func TestTheDocumentsNameWhatExists(t *testing.T) {
	t.Parallel()
	programs := files(t, ".go", ".sh", ".service", "Makefile")
	code := strings.Join(slices.Collect(maps.Values(programs)), "\n")
	environment := map[string]bool{}
	c, _, err := root().Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		environment["ROLLCALL_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))] = true
	})
	metrics := readText(t, "docs/metrics.md")
	for name, text := range manuals(t) {
		for _, found := range variables.FindAllString(text, -1) {
			if !environment[found] && !strings.Contains(code, found) {
				t.Errorf("%s names the variable %s, which nothing reads", name, found)
			}
		}
		for _, found := range metricNames.FindAllString(text, -1) {
			if !strings.Contains(metrics, "| `"+found) && !strings.Contains(code, found) {
				t.Errorf("%s names the metric %s, which does not exist", name, found)
			}
		}
		for _, found := range aTest.FindAllString(text, -1) {
			if !strings.Contains(code, "func "+found) {
				t.Errorf("%s names %s, which is no test", name, found)
			}
		}
		for _, command := range codeOf(text) {
			checkRun(t, name, command, programs)
			for _, target := range aTarget.FindAllStringSubmatch(command, -1) {
				if !strings.Contains(code, "\n"+target[1]+":") {
					t.Errorf("%s: make has no %s", name, target[1])
				}
			}
			if anEvent.MatchString(command) && !strings.Contains(code, strings.TrimSuffix(command, "WithResponse")) { // a generated client has that
				t.Errorf("%s names %s, which does not exist", name, command)
			}
		}
		for _, found := range aPath.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(moduleRoot, found[1])); err != nil {
				t.Errorf("%s names a file that is not there: %v", name, err)
			}
		}
	}
}

// checkRun judges a run of tests or benchmarks: each name that is picked is one in a package that is named.
func checkRun(t *testing.T, document, command string, programs map[string]string) {
	t.Helper()
	var tests []string
	for _, folder := range aPackage.FindAllStringSubmatch(command, -1) {
		for file, text := range programs {
			if path.Dir(file) == folder[1] || folder[2] != "" && strings.HasPrefix(file, folder[1]+"/") {
				tests = append(tests, text)
			}
		}
	}
	for _, found := range aRun.FindAllStringSubmatch(command, -1) {
		for part := range strings.SplitSeq(found[1], "|") {
			picks := regexp.MustCompile(`func (Test|Fuzz|Benchmark)\w*` + strings.TrimPrefix(part, "Test"))
			if len(tests) > 0 && !slices.ContainsFunc(tests, picks.MatchString) {
				t.Errorf("%s: %s: there is no %s", document, command, part)
			}
		}
	}
}

var (
	aLink    = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notAWord = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// A link within the repository leads to a file that exists, and to a heading of it. Links lead from the README to every document.
func TestTheLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := files(t, ".md")
	linked := map[string][]string{}
	for name, text := range all {
		text = spans.ReplaceAllString(fenced.ReplaceAllString(text, ""), "")
		for _, found := range aLink.FindAllStringSubmatch(text, -1) {
			link, err := url.Parse(found[1] + found[2])
			if err != nil || link.Scheme != "" {
				continue
			}
			to := name
			if link.Path != "" {
				to = path.Join(path.Dir(name), link.Path)
			}
			if _, err := os.Stat(filepath.Join(moduleRoot, to)); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if link.Fragment != "" && !slices.Contains(anchors(all[to]), link.Fragment) {
				t.Errorf("%s: %s has no heading #%s", name, to, link.Fragment)
			}
			linked[name] = append(linked[name], to)
		}
	}
	reached := []string{"README.md"}
	for i := 0; i < len(reached); i++ {
		for _, to := range linked[reached[i]] {
			if !slices.Contains(reached, to) {
				reached = append(reached, to)
			}
		}
	}
	for name := range manuals(t) {
		if !slices.Contains(reached, name) {
			t.Errorf("no link leads from the README to %s", name)
		}
	}
}

// anchors are the names by which links lead to a document's headings.
func anchors(text string) (all []string) {
	for _, heading := range headings.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(notAWord.ReplaceAllString(strings.ToLower(heading[1]), ""), " ", "-"))
	}
	return all
}

var (
	aRoute   = regexp.MustCompile(`^(?:(?:GET|PUT|POST|DELETE) )?(/v1/[^\s?]*)`)
	ofConsul = regexp.MustCompile(`^docs/consul\.md|/v1/(agent|health)/`) // another API
	problems = regexp.MustCompile("\\b([45]\\d\\d) `([a-z-]+)`")
)

// The routes and the problems that documents name are in the API's description.
func TestTheDocumentsNameRoutesAndProblemsThatExist(t *testing.T) {
	t.Parallel()
	description := readText(t, "docs/api/openapi.yaml")
	var routes []*regexp.Regexp
	for _, found := range regexp.MustCompile(`(?m)^  (/v1/\S+):`).FindAllStringSubmatch(description, -1) {
		routes = append(routes, regexp.MustCompile("^"+regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(found[1]), "[^/]+")+"$"))
	}
	for name, text := range manuals(t) {
		for _, found := range problems.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(description, "| "+found[2]+" | "+found[1]+" |") {
				t.Errorf("%s names the problem %s, which does not exist", name, found[0])
			}
		}
		for _, code := range codeOf(text) {
			route := aRoute.FindStringSubmatch(code)
			if route != nil && !strings.Contains(route[1], "…") && !ofConsul.MatchString(name+route[1]) && !slices.ContainsFunc(routes, func(r *regexp.Regexp) bool { return r.MatchString(route[1]) }) {
				t.Errorf("%s names %s, which the API does not have", name, route[0])
			}
		}
	}
}

// The tables of the server's flags have each of them, with its default.
func TestTheDocumentsHaveEveryFlagOfTheServerWithItsDefault(t *testing.T) {
	serve, _, err := root().Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for name, text := range manuals(t) {
		column := -1
		for line := range strings.Lines(text) {
			cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), "| |", "|  |"), " | ")
			if first := strings.TrimPrefix(cells[0], "| "); first == "flag" || first == "setting" {
				column = slices.Index(cells, "default")
			}
			if !strings.HasPrefix(line, "| `--") {
				continue
			}
			for _, found := range flags.FindAllString(cells[0], -1) {
				told[found] = true
				flag := serve.Flag(found[2:])
				if column < 0 || flag == nil || strings.Count(cells[0], "--") > 1 {
					continue
				}
				want := strings.NewReplacer("[", "", "]", "", "0m0s", "", ",", ", ").Replace(flag.DefValue)
				if got := strings.ReplaceAll(cells[column], "`", ""); got != want && !(slices.Contains([]string{"", "none", "machine and port"}, got) && want == "") {
					t.Errorf("%s: the default of %s is %q, not %q", name, found, want, got)
				}
			}
		}
	}
	serve.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !told["--"+f.Name] && f.Name != "help" {
			t.Errorf("no table has --%s of serve", f.Name)
		}
	})
}
