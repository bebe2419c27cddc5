package sqldb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"coexistd/milter/sources"
)

// text returns what a driver gives as the value of a column. NULL is "".
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(value)
}

// markOf makes a Mark of the values of a row.
func markOf(columns []string, values []any) (sources.Mark, error) {
	mark := sources.Mark{}
	for i, name := range columns {
		count, grows := counter(values[i])
		if grows {
			mark[name] = count
			continue
		}
		value := text(values[i])
		if len(value) > maxValue {
			return nil, tooLong(name, len(value))
		}
		mark[name+"="+value] = ""
	}
	return mark, nil
}

// counter writes a number or a time so that its order is that of the texts. What has no
// such order it does not write. NULL comes before all.
func counter(value any) (count string, grows bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case int64:
		return fmt.Sprintf("%020d", v), v >= 0
	case uint64:
		return fmt.Sprintf("%020d", v), true
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000000000Z"), v.Year() >= 0 && v.Year() <= 9999
	}
	return "", false
}

func tooLong(column string, length int) error {
	return fmt.Errorf("the column %s holds %d bytes; at most %d are read", sources.Quote(column, ""), length, maxValue)
}

// row makes the row of a list of the values of its columns.
func (o *Options) row(number int, columns []string, values []any) (sources.Row, error) {
	row := sources.Row{Origin: "row " + strconv.Itoa(number)}
	for i, name := range columns {
		value := strings.Trim(text(values[i]), " ")
		if len(value) > maxValue {
			return row, fmt.Errorf("%s: %w", row.Origin, tooLong(name, len(value)))
		}
		switch name {
		case "address":
			row.Address = value
		case "residence":
			row.Residence = o.residence(value)
		case "login":
			row.Login = value
		case "target":
			row.Target = value
		case "kind":
			row.Kind = strings.ToLower(value)
		default:
			if row.Further == nil {
				row.Further = make(map[string]string)
			}
			row.Further[name] = value
		}
	}
	if row.Residence == "" {
		row.Residence = o.Default
	}
	return row, nil
}

func (o *Options) residence(value string) string {
	if word, known := o.Residences[strings.ToLower(value)]; known {
		return word
	}
	return value
}
