package setup

import (
	"fmt"
	"strconv"
	"strings"
)

// table is a hash table of PowerShell's, whose entries keep their order.
type table []entry

// entry is one of them. The value is a bool, an int, a string, a []string, or code.
type entry struct {
	name  string
	value any
}

// code is PowerShell that stands for a value: a variable.
type code string

// literal writes the table, in lines of its own.
func (t table) literal() string {
	if len(t) == 0 {
		return "@{}"
	}
	var b strings.Builder
	b.WriteString("[ordered]@{\n")
	for _, one := range t {
		fmt.Fprintf(&b, "    %s = %s\n", one.name, literal(one.value))
	}
	b.WriteString("}")
	return b.String()
}

// literal writes a value as PowerShell has it.
func literal(value any) string {
	switch value := value.(type) {
	case bool:
		return "$" + strconv.FormatBool(value)
	case int:
		return strconv.Itoa(value)
	case string:
		return quoted(value)
	case []string:
		texts := make([]string, len(value))
		for i, one := range value {
			texts[i] = quoted(one)
		}
		return "@(" + strings.Join(texts, ", ") + ")"
	case code:
		return string(value)
	}
	return "$null"
}

// quoted writes a text between single quotes, in which nothing but these means anything. To
// PowerShell those of typographers are quotes, too.
func quoted(text string) string {
	for _, quote := range []string{"'", "\u2018", "\u2019", "\u201a", "\u201b"} {
		text = strings.ReplaceAll(text, quote, quote+quote)
	}
	return "'" + text + "'"
}

// wanted is an object of Exchange Online's as it is to be.
type wanted struct {
	// kind is the noun of its cmdlets: Get-KIND, New-KIND, Set-KIND.
	kind string
	// by is the property that it is found by, and name what this holds.
	by, name string
	// called is the name that it gets when it is made, if that is another.
	called string
	// made are the settings that are said only when it is made; nil: it is not made by us.
	made table
	// settings are compared with what is there, and set.
	settings table
}

// set writes the command that brings the object about. See office365_tools.ps1.
func (w wanted) set() string {
	made := "$null"
	if w.made != nil {
		made = "(" + w.made.literal() + ")"
	}
	by := "$null"
	if w.by != "" {
		by = w.by
	}
	text := fmt.Sprintf("Set-Wanted %s %s %s %s (%s)", w.kind, by, quoted(w.name), made, w.settings.literal())
	if w.called != "" {
		text += " " + quoted(w.called)
	}
	return text + "\n"
}

// indented is code as it stands in a block.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}

// assign writes an assignment.
func assign(variable string, value any) string {
	if t, is := value.(table); is {
		return fmt.Sprintf("$%s = %s\n", variable, t.literal())
	}
	return fmt.Sprintf("$%s = %s\n", variable, literal(value))
}
