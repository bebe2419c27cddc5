package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"coexistd/contrib/lab"
)

// typed runs a command line, whose words have a space between them.
func typed(line string) (status int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	status = run(strings.Fields(line), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestEachCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	for _, cmd := range withAllBelow((&call{}).root())[1:] {
		line := strings.TrimPrefix(cmd.CommandPath(), "coexistd ")
		for _, ask := range []string{line + " --help", line + " -h", "help " + line} {
			status, out, complaint := typed(ask)
			if status != exitYes || complaint != "" || !strings.Contains(out, "\nExamples:\n  "+cmd.CommandPath()) || !strings.Contains(out, "--config FILE") {
				t.Errorf("%q ended with %d, %q and\n%s", ask, status, complaint, out)
			}
		}
	}
}

func TestTheConfigurationIsNamedBeforeOrAfterTheCommand(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	for _, line := range []string{
		"-c " + path + " check", "check -c " + path, "check --config=" + path, "check --json -c " + path, "-c " + path + " check --json",
		"-c " + path + " explain --flows", "explain --flows -c " + path,
		"-c " + path + " quarantine list", "quarantine -c " + path + " list", "quarantine list -c " + path,
		"quarantine --json -c " + path + " list", "quarantine list --json x -c " + path + " y",
	} {
		status, out, complaint := typed(line)
		if status != exitYes || strings.Contains(line, "--json") != (out != "" && strings.Contains("[{", out[:1])) {
			t.Errorf("%q ended with %d, %q and\n%s", line, status, complaint, out)
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	status, _, complaint := typed("explain /does/not/exist.eml --from x@example.net --to bob@acmecorp.com -c " + path)
	if status != exitWrong || !strings.HasPrefix(complaint, "coexistd explain: the message cannot be read: ") {
		t.Errorf("explain ended with %d and %q", status, complaint)
	}
}

func TestWrongUsageSaysWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"sevre":                   `coexistd: there is no command "sevre"; did you mean serve?`,
		"sevre --jsn":             `coexistd: there is no command "sevre"; did you mean serve?`,
		"frobnicate":              `coexistd: there is no command "frobnicate"`,
		"--jsn":                   "coexistd: unknown flag: --jsn: flags other than -c stand after the command",
		"--json check":            "coexistd: unknown flag: --json: flags other than -c stand after the command",
		"-c":                      "coexistd: flag needs an argument: 'c' in -c",
		"check --jsn":             "coexistd check: unknown flag: --jsn; did you mean --json?",
		"check -json":             "coexistd check: unknown shorthand flag: 'j' in -json: -json is read as one flag for each letter; did you mean --json?",
		"check -x":                "coexistd check: unknown shorthand flag: 'x' in -x",
		"check x":                 `coexistd check: "x" is one argument too many`,
		"explain --find sapm=hit": `coexistd explain: invalid argument "sapm=hit" for "--find" flag: "sapm" is not a check`,
		"quarantine relaese":      `coexistd quarantine: there is no action "relaese"; did you mean release?`,
		"quarantine help sohw":    `coexistd quarantine: there is no action "sohw"; did you mean show?`,
		"help sevre":              `coexistd help: there is no command "sevre"; did you mean serve?`,
		"help check x":            `coexistd help: there is nothing below check, so "x" is one word too many`,
	} {
		command, _, _ := strings.Cut(want, ":")
		status, out, complaint := typed(line)
		if want += "\nsee: " + command + " --help\n"; status != exitWrong || out != "" || complaint != want {
			t.Errorf("%q ended with %d, %q and\n%sright is\n%s", line, status, out, complaint, want)
		}
	}
}

func TestTheVersionIsAFact(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"version": "coexistd " + version + " (", "--version": "coexistd " + version + " (", "version --json": `"version": "` + version + `"`,
	} {
		if status, out, complaint := typed(line); status != exitYes || complaint != "" || !strings.Contains(out, want) {
			t.Errorf("%q ended with %d, %q and %s", line, status, complaint, out)
		}
	}
}

// What explain would refuse is not proposed either.
func TestTheShellIsToldWhatMayFollow(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"__complete explain --without s":  "spool\nstore\ndirectory\nnetworks\n:4\n",
		"__complete explain x":            "eml\n:8\n",
		"__complete explain a.eml x":      ":4\n",
		"__complete check x":              ":4\n",
		"__complete check --config x":     "toml\n:8\n",
		"__complete help check x":         ":4\n",
		"__complete quarantine show --ra": "--raw\tprint the message's bytes and nothing else\n:4\n",
		"__complete quarantine list --to": "--to\tonly what is held for the ADDRESS\n:4\n",
	} {
		if status, out, _ := typed(line); status != exitYes || out != want {
			t.Errorf("%q ended with %d and %q; %q is right", line, status, out, want)
		}
	}
	_, findings, _ := typed("__complete explain --find x")
	if !strings.Contains(findings, "spam=unknown\n") || strings.Contains(findings, "ddos=unknown") || strings.Contains(findings, "rate=hit") || strings.Contains(findings, "auth=") {
		t.Errorf("the findings proposed are %q", findings)
	}
}

// A name in capitals stands for what follows a flag, as it does in the manual.
func TestEachFlagNamesItsValue(t *testing.T) {
	t.Parallel()
	for _, cmd := range withAllBelow((&call{}).root()) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if name, _ := pflag.UnquoteUsage(f); name != strings.ToUpper(name) {
				t.Errorf("%s --%s takes a %q", cmd.CommandPath(), f.Name, name)
			}
		})
	}
}
