package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
)

const (
	referenceFile = "../../contrib/docs/configuration.md"
	editorsFile   = "../../contrib/coexistd.schema.json"
)

// allKeys returns the schema of a file that says nothing.
func allKeys() schema.Schema { return newReader("", "").keys() }

// The tables of keys in the reference, and the schema for editors, are made of the schema.
// To write them anew, run the tests with WRITE_REFERENCE=1.
func isWriting() bool { return os.Getenv("WRITE_REFERENCE") != "" }

func TestTheReferenceHasTheKeysOfTheSchema(t *testing.T) {
	page, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	want := string(page)
	for _, s := range allKeys() {
		path := s.Path
		if path == "" {
			path = "the top"
		}
		begin, end := fmt.Sprintf("<!-- keys of %s: begin -->\n", path), fmt.Sprintf("<!-- keys of %s: end -->\n", path)
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s lacks the lines %q and %q", referenceFile, begin, end)
		}
		want = before + begin + keysTable(s.Keys) + end + after
	}
	keep(t, referenceFile, want)
}

// keep compares a file with what it should be, or writes it.
func keep(t *testing.T, file, want string) {
	t.Helper()
	if isWriting() {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(got), "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(lines) || lines[i] != line {
			t.Fatalf("%s:%d is not current; run the tests of this package with WRITE_REFERENCE=1. It would be\n%s", file, i+1, line)
		}
	}
	if string(got) != want {
		t.Fatalf("%s goes on behind its end; run the tests of this package with WRITE_REFERENCE=1", file)
	}
}

// keysTable returns the keys of a section as a table in Markdown.
func keysTable(keys []schema.Key) string {
	var b strings.Builder
	b.WriteString("| key | possible | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		usual := k.Without()
		switch {
		case k.Usual != nil:
			usual = "`" + k.Shown() + "`"
		case k.Missing != "":
			usual = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, k.Kind.Possible, usual, k.Meaning)
	}
	return b.String()
}

func TestEditorsHaveTheKeysOfTheSchema(t *testing.T) {
	text, err := json.MarshalIndent(editorsSchema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, editorsFile, string(text)+"\n")
}

type object = map[string]any

// editorsSchema is the schema of the file in JSON Schema, draft 7.
func editorsSchema() object {
	top := jsonSection("")
	top["$schema"] = "http://json-schema.org/draft-07/schema#"
	top["title"] = "The configuration of coexistd"
	return top
}

// jsonSection is a section with those within it.
func jsonSection(path string) object {
	properties := object{}
	var required []string
	for _, k := range allKeys().Keys(path) {
		properties[k.Name] = jsonKey(k, path)
		if k.Missing != "" {
			required = append(required, k.Name)
		}
	}
	all := allKeys()
	one := object{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		one["required"] = required
	}
	for _, name := range allKeys().Within(path) {
		inner := strings.TrimPrefix(path+"."+name, ".")
		switch i := slices.IndexFunc(all, func(s schema.Section) bool { return s.Path == inner }); {
		case properties[name] != nil: // a key, too
		case name == "*":
			one["additionalProperties"] = jsonSection(inner)
		case i >= 0 && strings.HasPrefix(all[i].Header, "[["):
			properties[name] = object{"type": "array", "description": all[i].About, "items": jsonSection(inner)}
		case i >= 0:
			properties[name] = jsonSection(inner)
			properties[name].(object)["description"] = all[i].About
		default:
			properties[name] = jsonSection(inner)
		}
	}
	switch path {
	case "":
		one["required"] = []string{"listen", "domain"}
	case "check", "checkpoint.*":
		for _, check := range setChecks {
			properties[check] = jsonCheck(check, path == "check")
		}
		one["additionalProperties"] = false
	case "checkpoint":
		one["additionalProperties"] = false
		for _, point := range allPoints {
			properties[point.String()] = jsonSection("checkpoint.*")
		}
	}
	return one
}

// jsonCheck is the section of a check, with what holds for all points alike or without.
func jsonCheck(check string, general bool) object {
	properties := object{}
	for _, k := range allKeys().Keys("check.*") {
		if usual := row(check); !(k.Name == "on_error" && usual.AlwaysTells || strings.HasSuffix(k.Name, "_at") && !usual.Scored) {
			properties[k.Name] = jsonKey(k, "")
		}
	}
	if general {
		for _, k := range allKeys().Keys("check." + check) {
			properties[k.Name] = jsonKey(k, "")
		}
	}
	return object{"type": "object", "properties": properties, "additionalProperties": false}
}

// jsonKey is what the value of a key can be.
func jsonKey(k schema.Key, path string) object {
	one := object{"type": k.Kind.JSON}
	strings := object{"type": "array", "items": object{"type": "string"}}
	switch k.Kind.JSON {
	case "array":
		one = strings
	case "strings":
		one = object{"oneOf": []any{object{"type": "string"}, strings}}
	case "tables":
		inner := jsonSection(path + "." + k.Name)
		one = object{"oneOf": []any{inner, object{"type": "array", "items": inner}}}
	case "table":
		one = jsonSection(path + "." + k.Name)
	case "amount":
		one = object{"oneOf": []any{object{"type": "integer", "minimum": int64(1), "maximum": maxLimit}, object{"type": "string"}}}
	case "integer", "number":
		one["minimum"], one["maximum"] = k.Kind.Low, k.Kind.High
	}
	if k.Kind.Words != nil {
		one["enum"] = k.Kind.Words
	}
	one["description"] = k.Unlinked()
	if k.Usual != nil {
		one["default"] = k.Usual
	}
	return one
}

// mismatch says where a value is not what a schema for editors allows, or "".
func mismatch(want object, value any, at string) string {
	if choices, isOne := want["oneOf"].([]any); isOne {
		fits := 0
		for _, choice := range choices {
			if mismatch(choice.(object), value, at) == "" {
				fits++
			}
		}
		if fits != 1 {
			return fmt.Sprintf("%s fits %d choices", at, fits)
		}
		return ""
	}
	if values, isTables := value.([]map[string]any); isTables {
		var all []any
		for _, one := range values {
			all = append(all, one)
		}
		value = all
	}
	types := map[string]string{"string": "string", "bool": "boolean", "int64": "integer", "float64": "number", "map[string]interface {}": "object", "[]interface {}": "array"}
	if got := types[fmt.Sprintf("%T", value)]; got != want["type"] && !(got == "integer" && want["type"] == "number") {
		return fmt.Sprintf("%s is %s, not %v", at, got, want["type"])
	}
	if words, isChoice := want["enum"].([]string); isChoice && !slices.Contains(words, value.(string)) {
		return fmt.Sprintf("%s is none of %v", at, words)
	}
	if whole, isWhole := value.(int64); isWhole && (whole < want["minimum"].(int64) || whole > want["maximum"].(int64)) {
		return at + " is out of range"
	}
	if list, isList := value.([]any); isList {
		for _, one := range list {
			if problem := mismatch(want["items"].(object), one, at); problem != "" {
				return problem
			}
		}
	}
	table, _ := value.(map[string]any)
	properties, _ := want["properties"].(object)
	for name, inner := range table {
		rest, isOpen := want["additionalProperties"].(object)
		switch property, known := properties[name].(object); {
		case known:
			if problem := mismatch(property, inner, at+"."+name); problem != "" {
				return problem
			}
		case isOpen:
			if problem := mismatch(rest, inner, at+"."+name); problem != "" {
				return problem
			}
		case want["additionalProperties"] == false:
			return at + "." + name + " is unknown"
		}
	}
	return ""
}

func TestEditorsFindNoFaultInWhatIsRight(t *testing.T) {
	for name, text := range map[string]string{
		"smallest": smallest, "full": strings.Replace(full, "recipient = 1\n", "", 1), "checks": smallest + everyCheck, "senders": everySender,
	} {
		entries, _, err := decodeTOML(text)
		if err != nil {
			t.Fatal(err)
		}
		if problem := mismatch(editorsSchema(), entries, ""); problem != "" {
			t.Errorf("%s: %s", name, problem)
		}
	}
	for text, want := range map[string]string{
		"colour = 1": ".colour is unknown", "max_passes = 0": ".max_passes is out of range", "hostname = 1": ".hostname is integer, not string",
		"[check.virus]\ntag_at = 1": ".check.virus.tag_at is unknown", "[check.spam]\ntag_at = 1.5\non_hit = \"x\"": ".check.spam.on_hit is none of",
		"[platform.a]\nproof = { a = 1 }": ".platform.a.proof fits 0 choices", "[checkpoint.S0.spoof]\nspf = \"tag\"": ".checkpoint.S0.spoof.spf is unknown",
		"[checkpoint.S5]\nreport = true": ".checkpoint.S5 is unknown",
	} {
		entries, _, err := decodeTOML(text)
		if err != nil {
			t.Fatal(err)
		}
		if problem := mismatch(editorsSchema(), entries, ""); !strings.HasPrefix(problem, want) {
			t.Errorf("%s: %q, not %q", text, problem, want)
		}
	}
}

var setting = regexp.MustCompile(`(?m)^#(\[|[a-z_]+ = )`)

// uncommented returns the default file with those of its settings that are chosen, each
// with the section that it stands in.
func uncommented(chosen func(section, setting string) bool) string {
	var b strings.Builder
	section := ""
	for line := range strings.Lines(Default()) {
		line = strings.TrimSuffix(line, "\n")
		if setting.MatchString(line) {
			text := line[1:]
			if strings.HasPrefix(text, "[") {
				section = text
			}
			if chosen(section, text) {
				line = text
			}
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// needed is what must be uncommented of the default file.
func needed(section, setting string) bool {
	switch section {
	case "[[listen]]":
		return strings.HasPrefix(setting, "[") || strings.HasPrefix(setting, "address")
	case `[domain."example.com"]`:
		return strings.HasPrefix(setting, "[") || strings.HasPrefix(setting, "directory")
	}
	return false
}

func TestTheDefaultFileHasEveryKeyAndIsRightOnceItsNeededPartsAreUncommented(t *testing.T) {
	t.Parallel()
	all := map[string]string{"users.csv": users, "secret.key": strings.Repeat("k", 32), "proof.key": strings.Repeat("k", 16), "redis.password": "x", "directory.password": "x", "templates/report.txt": "x", "rspamd.password": "x"}
	load(t, write(t, uncommented(needed), all))
	_, keys, err := decodeTOML(uncommented(func(string, string) bool { return true }))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, s := range allKeys() {
		if s.Header != "" {
			count += len(s.Keys)
		}
	}
	if count += len(allKeys()[0].Keys); len(keys) < count {
		t.Errorf("the default file shows %d keys and tables; the schema has %d keys", len(keys), count)
	}
	// What a setting wants beside it. Nil: what the file shows cannot be said beside the rest.
	wants := map[string][]string{
		"alternate": {"[platform.office365]"}, "platforms": {"[platform.office365]", "alternate"}, "max_age": {"networks"}, "learn": {"[scanner.rspamd]", "address"}, "username": {"password_file"}, "on_error": {"[redis]", "addresses"},
		"mode": nil, "past_mx": nil, "same_as": nil,
		"source.*.tls": nil, "source.*.driver": nil, "source.*.database": nil, "source.*.query": nil, "source.*.mark_query": nil, "source.*.file": nil,
		"tls.platform":                 {"[platform.office365]"},
		"archive.journals":             {"[platform.office365]"},
		"probe.addresses":              {"[platform.office365]", `[domain."example.com"]`, "alternate"},
		"source.*.platform":            {"[platform.office365]"},
		"source.*.residence.attribute": {"[source.people]", "type"}, "source.*.residence.values": {"[source.people]", "type"},
		"source.*.residence.groups": {"[source.people]", "type", "[platform.office365]"}, "source.*.residence.nested": {"[source.people]", "type"},
		"source.*.residence.default": {"[source.people]", "type"},
	}
	for _, s := range allKeys() {
		for _, k := range s.Keys {
			want, special := wants[s.Path+"."+k.Name]
			if !special {
				want, special = wants[k.Name]
			}
			if s.Header == "" && s.Path != "" || special && want == nil {
				continue
			}
			text := uncommented(func(section, setting string) bool {
				name, _, _ := strings.Cut(setting, " =")
				here := section == s.Header && (strings.HasPrefix(setting, "[") || name == k.Name || isRequired(s, name) || slices.Contains(want, name))
				elsewhere := slices.Contains(want, section) && (strings.HasPrefix(setting, "[") || slices.Contains(want, name))
				return needed(section, setting) || here || elsewhere
			})
			if _, err := read(write(t, text, all)); err != nil {
				t.Errorf("%s of %s: %v", k.Name, s.Header, err)
			}
		}
	}
}

// isRequired reports a key without which its schema.Section is wrong.
func isRequired(s schema.Section, name string) bool {
	return slices.ContainsFunc(s.Keys, func(k schema.Key) bool {
		return k.Name == name && (k.Missing != "" || s.Path == "allow" && name == "senders" || s.Path == "route" && name == "recipients" || s.Path == "tls" && (name == "in" || name == "domains"))
	})
}

func TestAValueOfAWrongTypeIsAMistakeForEveryKey(t *testing.T) {
	t.Parallel()
	for _, s := range allKeys() {
		header := s.Header
		switch s.Path {
		case "platform.*":
			header = "[platform.google]"
		case "platform.*.proof":
			header = "[platform.google.proof]"
		case "route.header", "route.except", "route.except.header":
			header = "[[route]]\n[" + s.Path + "]"
		}
		for _, k := range s.Keys {
			// A date is right nowhere.
			text := smallest + header + "\n" + k.Name + " = 1979-05-27\n"
			if header == "" {
				text = k.Name + " = 1979-05-27\n" + smallest
			}
			_, err := read(write(t, text, map[string]string{"users.csv": users}))
			problems, _ := errors.AsType[mistakes.Problems](err)
			own := slices.DeleteFunc(slices.Clone(problems), func(p mistakes.Problem) bool {
				return p.Key != k.Name && !strings.HasSuffix(p.Key, "."+k.Name) || !strings.Contains(p.Text, "is a date or time; it must be ")
			})
			if len(own) != 1 {
				t.Errorf("%s of %q: %v", k.Name, s.Path, problems)
			}
		}
	}
}
