package powershell

import (
	"fmt"
	"strconv"
	"strings"
)

// A value is nil, a bool, an int, a string, a []any, a *Table, or a secure string.

// Table is a hash table, or an object with properties. Names are told apart without case.
type Table struct {
	names  []string
	values map[string]any
}

// NewTable makes one of names and values by turns.
func NewTable(pairs ...any) *Table {
	t := &Table{}
	for i := 0; i+1 < len(pairs); i += 2 {
		t.Set(pairs[i].(string), pairs[i+1])
	}
	return t
}

// Get returns what stands under a name.
func (t *Table) Get(name string) any { return t.values[strings.ToLower(name)] }

// Has reports a name that stands in the table.
func (t *Table) Has(name string) bool {
	_, has := t.values[strings.ToLower(name)]
	return has
}

// Names are all names, in the order in which they came.
func (t *Table) Names() []string { return t.names }

// Set puts a value under a name.
func (t *Table) Set(name string, value any) {
	if t.values == nil {
		t.values = make(map[string]any)
	}
	if !t.Has(name) {
		t.names = append(t.names, name)
	}
	t.values[strings.ToLower(name)] = value
}

// Clone is a table of its own with the same values.
func (t *Table) Clone() *Table {
	c := &Table{}
	for _, name := range t.names {
		c.Set(name, t.Get(name))
	}
	return c
}

// secure is a text that is not to be shown.
type secure string

// List is a value as a list: nothing for nil.
func List(value any) []any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		return value
	}
	return []any{value}
}

// single is what a pipeline's output is as a value.
func single(list []any) any {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return list
}

// Text is a value as a string has it.
func Text(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case bool:
		if value {
			return "True"
		}
		return "False"
	case []any:
		texts := make([]string, len(value))
		for i, one := range value {
			texts[i] = Text(one)
		}
		return strings.Join(texts, " ")
	case secure:
		return "System.Security.SecureString"
	case *Table:
		return "System.Object"
	}
	return fmt.Sprint(value)
}

// isTrue is a value as a condition.
func isTrue(value any) bool {
	switch value := value.(type) {
	case nil:
		return false
	case bool:
		return value
	case int:
		return value != 0
	case string:
		return value != ""
	case []any:
		return len(value) > 1 || len(value) == 1 && isTrue(value[0])
	}
	return true
}

// equal compares as -eq does: the left side says how.
func equal(left, right any) (bool, error) {
	if left == nil || right == nil {
		return left == right, nil
	}
	switch left := left.(type) {
	case bool:
		return left == isTrue(right), nil
	case int:
		if number, is := right.(int); is {
			return left == number, nil
		}
		return strings.EqualFold(strconv.Itoa(left), Text(right)), nil
	case string:
		return strings.EqualFold(left, Text(right)), nil
	}
	return false, fmt.Errorf("a %T is not compared here", left)
}
