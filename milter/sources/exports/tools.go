package exports

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// tool is how the exports of one tool are read. Columns are named in lower case.
type tool struct {
	name    string
	primary string // the column of the primary address, which only this tool's exports have
	check   func(columns map[string]int) error
	entry   func(columns map[string]int, record []string) (entry, error)
	isWhole func(rows int) error
}

var tools = []tool{
	{
		name: "Exchange Online's Get-EXORecipient", primary: "primarysmtpaddress",
		check: checkRecipients, entry: recipient, isWhole: isUnlimited,
	},
	{
		name: "Google's admin console", primary: "email address [required]",
		check: func(map[string]int) error { return nil }, isWhole: anyNumber,
		entry: func(columns map[string]int, record []string) (entry, error) {
			return user(columns, record, "email address [required]")
		},
	},
	{
		name: "gam print users", primary: "primaryemail",
		check: checkAliases, isWhole: anyNumber,
		entry: func(columns map[string]int, record []string) (entry, error) {
			return user(columns, record, "primaryemail")
		},
	},
}

func anyNumber(int) error { return nil }

// command is what to type for an export of Exchange Online: a list that is not joined is
// written as the name of its type.
const command = "Get-EXORecipient -ResultSize Unlimited | Select PrimarySmtpAddress, @{n='EmailAddresses';e={$_.EmailAddresses -join ';'}}, " +
	"RecipientTypeDetails, ExternalEmailAddress | Export-Csv FILE -NoTypeInformation -Encoding UTF8"

func checkRecipients(columns map[string]int) error {
	for _, name := range []string{"EmailAddresses", "RecipientTypeDetails"} {
		if _, has := columns[strings.ToLower(name)]; !has {
			return fmt.Errorf("the export lacks the column %s; make it by %s", name, command)
		}
	}
	return nil
}

// isUnlimited refuses as many recipients as Exchange gives to who does not ask for all.
func isUnlimited(rows int) error {
	if rows == 1000 {
		return errors.New("the export has 1000 recipients, which is where Exchange stops without -ResultSize Unlimited; make it by " + command)
	}
	return nil
}

// kinds are the kinds by RecipientTypeDetails, in lower case, where they tell one.
var kinds = map[string]string{
	"usermailbox": "user", "linkedmailbox": "user", "legacymailbox": "user",
	"sharedmailbox": "shared", "teammailbox": "shared", "schedulingmailbox": "shared",
	"roommailbox": "room", "equipmentmailbox": "room",
	"groupmailbox": "group", "mailuniversaldistributiongroup": "group", "mailuniversalsecuritygroup": "group",
	"mailnonuniversalgroup": "group", "dynamicdistributiongroup": "group", "roomlist": "group",
}

// elsewhere are the RecipientTypeDetails of those whose mail goes on to ExternalEmailAddress.
var elsewhere = map[string]bool{
	"mailuser": true, "guestmailuser": true, "mailcontact": true, "mailforestcontact": true,
}

// recipient reads a row of Exchange Online's recipients.
func recipient(columns map[string]int, record []string) (entry, error) {
	details := strings.ToLower(strings.TrimSpace(record[columns["recipienttypedetails"]]))
	if elsewhere[details] {
		return entry{}, nil
	}
	e := entry{kind: kinds[details]}
	if primary := strings.TrimSpace(record[columns["primarysmtpaddress"]]); primary != "" {
		e.addresses = append(e.addresses, primary)
	}
	list := strings.TrimSpace(record[columns["emailaddresses"]])
	n := len(e.addresses)
	for _, word := range strings.FieldsFunc(list, isBetween) {
		// Addresses of other kinds, such as X500's, may hold blanks, but never this.
		if kind, address, _ := strings.Cut(word, ":"); strings.EqualFold(kind, "smtp") && strings.Contains(address, "@") {
			e.addresses = append(e.addresses, address)
		}
	}
	if list != "" && (len(e.addresses) == n || strings.HasSuffix(list, "...") || strings.HasSuffix(list, "…}")) {
		return e, fmt.Errorf("EmailAddresses is %q, which is no list of addresses as in SMTP:ann@acmecorp.com;smtp:a@acmecorp.com; make the export by %s",
			mail.Excerpt(list, 100), command)
	}
	return e, nil
}

func isBetween(c rune) bool { return strings.ContainsRune(" ,;|\t\r\n", c) }

// isAliases tells the columns in which GAM writes addresses beside the primary one:
// aliases, or aliases.0, aliases.1 and so on.
func isAliases(column string) bool {
	name, _, _ := strings.Cut(column, ".")
	return name == "aliases" || name == "noneditablealiases"
}

func checkAliases(columns map[string]int) error {
	for name := range columns {
		if isAliases(name) {
			return nil
		}
	}
	return errors.New("the export has no column of aliases, and so their mail would be refused; make it by gam print users primaryemail aliases")
}

// user reads a row of Google's users.
func user(columns map[string]int, record []string, primary string) (entry, error) {
	e := entry{kind: "user"}
	address := strings.TrimSpace(record[columns[primary]])
	if address == "" {
		return e, fmt.Errorf("the column %q is empty; export the list anew", primary)
	}
	e.addresses = append(e.addresses, address)
	var places []int
	for name, place := range columns {
		if isAliases(name) {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	for _, place := range places {
		for _, word := range strings.FieldsFunc(record[place], isBetween) {
			// The column aliases may have their number only.
			if strings.Contains(word, "@") {
				e.addresses = append(e.addresses, word)
			}
		}
	}
	return e, nil
}
