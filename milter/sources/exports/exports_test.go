package exports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"coexistd/milter/sources"
)

// options are those of a site whose mailboxes elsewhere are reached in two more domains.
func options() Options {
	return Options{
		Residence: "office365",
		Keep:      func(domain string) bool { return domain == "acmecorp.com" || domain == "xn--bcher-kva.example" },
		Target: func(domain string) bool {
			return domain == "acme.mail.onmicrosoft.com" || domain == "acmecorp.com.test-google-a.com"
		},
	}
}

func collect(text string, o Options) (lines []string, err error) {
	err = Read(iotest.OneByteReader(strings.NewReader(text)), o, func(r sources.Row) error {
		lines = append(lines, strings.Join([]string{r.Origin, r.Address, r.Residence, r.Target, r.Kind}, " | "))
		return nil
	})
	return lines, err
}

func check(t *testing.T, text string, want ...string) {
	t.Helper()
	lines, err := collect(text, options())
	if err != nil {
		t.Errorf("%v\nof %.200q", err, text)
	}
	if got, want := strings.Join(lines, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s\nof %.200q", got, want, text)
	}
}

// exported is as PowerShell 7 writes it.
const exported = `"PrimarySmtpAddress","EmailAddresses","RecipientTypeDetails","ExternalEmailAddress"
"Alice@acmecorp.com","SMTP:Alice@acmecorp.com;smtp:al@acmecorp.com;smtp:alice@acme.mail.onmicrosoft.com;smtp:alice@acme.onmicrosoft.com;SIP:alice@acmecorp.com;X500:/o=ExchangeLabs/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=4f-alice","UserMailbox",
"bob@acmecorp.com","SMTP:bob@acmecorp.com;smtp:bob@acme.mail.onmicrosoft.com","MailUser","SMTP:bob@mail.acmecorp.com"
"carol@other.example","SMTP:carol@other.example","MailContact","SMTP:carol@other.example"
"g_x.example#EXT#@acme.onmicrosoft.com","SMTP:g@x.example","GuestMailUser","SMTP:g@x.example"
"info@bücher.example","smtp:alice@acme.onmicrosoft.com SMTP:info@bücher.example smtp:INFO@acmecorp.com","SharedMailbox",""
"hall@acmecorp.com","SMTP:hall@acmecorp.com","RoomMailbox",""
"beamer@acmecorp.com","SMTP:beamer@acmecorp.com","EquipmentMailbox",""
"all@acmecorp.com","SMTP:all@acmecorp.com,smtp:everybody@acmecorp.com","MailUniversalDistributionGroup",""
"team@acmecorp.com","SMTP:team@acmecorp.com;SPO:SPO_1@SPO_2","GroupMailbox",""
"folder@acmecorp.com","","PublicFolder",""
`

var recipients = []string{
	"line 2 | Alice@acmecorp.com | office365 | alice@acme.mail.onmicrosoft.com | user",
	"line 2 | al@acmecorp.com | office365 | alice@acme.mail.onmicrosoft.com | user",
	"line 6 | info@bücher.example | office365 |  | shared",
	"line 6 | INFO@acmecorp.com | office365 |  | shared",
	"line 7 | hall@acmecorp.com | office365 |  | room",
	"line 8 | beamer@acmecorp.com | office365 |  | room",
	"line 9 | all@acmecorp.com | office365 |  | group",
	"line 9 | everybody@acmecorp.com | office365 |  | group",
	"line 10 | team@acmecorp.com | office365 |  | group",
	"line 11 | folder@acmecorp.com | office365 |  | ",
}

func TestRecipientsOfExchangeOnlineWhoLiveThereAreListed(t *testing.T) {
	check(t, exported, recipients...)
	check(t, "\ufeff"+strings.ReplaceAll(exported, "\n", "\r\n"), recipients...)
}

func TestWhatPowerShellWritesOtherwiseIsReadToo(t *testing.T) {
	for _, c := range []struct {
		text string
		line int // of the first row, as the reader counts
	}{
		// Windows' own, without -NoTypeInformation; on some systems, with -UseCulture.
		{"#TYPE Selected.System.Management.Automation.PSCustomObject\r\n\"PrimarySmtpAddress\",\"EmailAddresses\",\"RecipientTypeDetails\"\r\n\"alice@acmecorp.com\",\"SMTP:alice@acmecorp.com smtp:al@acmecorp.com\",\"UserMailbox\"\r\n", 3},
		{"\ufeff#TYPE System.Object\r\n\"RecipientTypeDetails\";\"EmailAddresses\";\"PrimarySmtpAddress\"\r\n\"UserMailbox\";\"SMTP:alice@acmecorp.com smtp:al@acmecorp.com\";\"alice@acmecorp.com\"\r\n", 3},
		{"RecipientTypeDetails,EmailAddresses,PrimarySmtpAddress\nUserMailbox,SMTP:alice@acmecorp.com|smtp:al@acmecorp.com,alice@acmecorp.com", 2},
	} {
		check(t, c.text, fmt.Sprintf("line %d | alice@acmecorp.com | office365 |  | user", c.line), fmt.Sprintf("line %d | al@acmecorp.com | office365 |  | user", c.line))
	}
}

func TestAnExportThatLacksAddressesIsRefusedWithTheCommandForAWholeOne(t *testing.T) {
	const header = "PrimarySmtpAddress,EmailAddresses,RecipientTypeDetails\n"
	for text, want := range map[string]string{
		"PrimarySmtpAddress,RecipientTypeDetails\n":                                              "lacks the column EmailAddresses; make it by Get-EXORecipient -ResultSize Unlimited",
		"PrimarySmtpAddress,EmailAddresses\n":                                                    "lacks the column RecipientTypeDetails; make it by Get-EXORecipient",
		header + "a@acmecorp.com,System.Collections.ArrayList,UserMailbox\n":                     `line 2: EmailAddresses is "System.Collections.ArrayList"`,
		header + "a@acmecorp.com,\"{SMTP:a@acmecorp.com, smtp:b@acmecorp.com...\",UserMailbox\n": "make the export by Get-EXORecipient",
		header + strings.Repeat("a@acmecorp.com,SMTP:a@acmecorp.com,MailUser\n", 1000):           "has 1000 recipients, which is where Exchange stops",
		header + "a@acmecorp.com,SMTP:a@acmecorp.com\n":                                          "line 2 has 2 fields and the header line 3",
		header + "\"a@acmecorp.com,SMTP:a@acmecorp.com,UserMailbox\n":                            "line 2 is no CSV",
		header + "a@acmecorp.com,SMTP:a@acmecorp.com,User\"Mailbox\n":                            "line 2 is no CSV",
		header + "\"" + strings.Repeat("x", 2*maxRecord) + "\",,\n":                              "a row has more than 1048576 bytes",
		"":                            "the file is empty",
		"\ufeff":                      "the file is empty",
		"\xff\xfeP":                   "the file is UTF-16; export it with -Encoding UTF8",
		"DisplayName,Mail\x1b\nx,y\n": `none of the columns "primarysmtpaddress" (Exchange Online's Get-EXORecipient), "email address [required]" (Google's admin console), "primaryemail" (gam print users), but displayname, mail?`,
		"primaryEmail,name.fullName\na@acmecorp.com,A\n": "make it by gam print users primaryemail aliases",
		"primaryEmail,aliases\n,\n":                      `line 2: the column "primaryemail" is empty`,
	} {
		_, err := collect(text, options())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v\nwant one with %s\nof %.100q", err, want, text)
		}
	}
	check(t, header+strings.Repeat("a@acmecorp.com,SMTP:a@acmecorp.com,MailUser\n", 1001))
}

func TestUsersOfGooglesConsoleAreListed(t *testing.T) {
	check(t, "First Name [Required],Last Name [Required],Email Address [Required],Password [Required],Password Hash Function [UPLOAD ONLY],Org Unit Path [Required],"+
		"New Primary Email [UPLOAD ONLY],Status [READ ONLY],Last Sign In [READ ONLY],Recovery Email,Home Secondary Email,Work Secondary Email,Work Address\n"+
		"Alice,\"Smith, \"\"Al\"\"\",alice@acmecorp.com,****,,/,,Active,2026/11/01 10:00:00,al@home.example,,,\"1 Road\nTown\"\n"+
		"Bob,Jones,bob@acmecorp.com,****,,/Left,,Suspended,Never logged in,,,,\n"+
		"Carol,King,carol@other.example,****,,/,,Active,Never logged in,,,,\n",
		"line 2 | alice@acmecorp.com | office365 |  | user",
		"line 4 | bob@acmecorp.com | office365 |  | user")
}

func TestUsersOfGAMAreListedWithTheirAliases(t *testing.T) {
	check(t, "primaryEmail,aliases.0,aliases.1,nonEditableAliases.0,suspended\n"+
		"alice@acmecorp.com,al@acmecorp.com,al@other.example,alice@acmecorp.com.test-google-a.com,False\n"+
		"bob@acmecorp.com,,,bob@acmecorp.com.test-google-a.com,True\n",
		"line 2 | alice@acmecorp.com | office365 | alice@acmecorp.com.test-google-a.com | user",
		"line 2 | al@acmecorp.com | office365 | alice@acmecorp.com.test-google-a.com | user",
		"line 3 | bob@acmecorp.com | office365 | bob@acmecorp.com.test-google-a.com | user")
	check(t, "Aliases,primaryEmail\nal@acmecorp.com a@acmecorp.com,alice@acmecorp.com\n",
		"line 2 | alice@acmecorp.com | office365 |  | user", "line 2 | al@acmecorp.com | office365 |  | user", "line 2 | a@acmecorp.com | office365 |  | user")
	check(t, "primaryEmail,aliases,aliases.0\nalice@acmecorp.com,1,al@acmecorp.com\n",
		"line 2 | alice@acmecorp.com | office365 |  | user", "line 2 | al@acmecorp.com | office365 |  | user")
}

func TestErrorsOfTheFileAreReturnedAsTheyAre(t *testing.T) {
	enough := errors.New("enough")
	for _, length := range []int{0, 50, len(exported) - 1} {
		from := io.MultiReader(strings.NewReader(exported[:length]), iotest.ErrReader(enough))
		if err := Read(from, options(), func(sources.Row) error { return nil }); !errors.Is(err, enough) {
			t.Errorf("after %d bytes: %v", length, err)
		}
	}
}

func TestAFileThatIsBeingWrittenIsReadOnceThatIsDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "there.csv")
	write := func(text string, age time.Duration) {
		t.Helper()
		then := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Chtimes(path+".new", then, then), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.SplitAfter(exported, "\n")
	write(lines[0]+lines[1], 0)
	o := options()
	o.Settle = time.Hour
	read := make(chan error)
	rows := 0
	go func() {
		read <- New(path, o).Read(t.Context(), func(sources.Row) error { rows++; return nil })
	}()
	// A file that has lain there for long is read at once.
	if err := New(path, Options{Settle: time.Nanosecond}).Read(t.Context(), func(sources.Row) error { return nil }); err != nil {
		t.Error(err)
	}
	write(exported, 2*o.Settle)
	if err := <-read; err != nil || rows != len(recipients) {
		t.Errorf("%d rows are read, %v; want %d", rows, err, len(recipients))
	}

	write(exported, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(path, o).Read(ctx, func(sources.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("while it waits, the end of the context: %v", err)
	}
}

func TestAllAddressesAreGivenToWhoLeavesNoneOut(t *testing.T) {
	lines, err := collect(exported, Options{Residence: "cloud"})
	if err != nil || len(lines) != 13 {
		t.Errorf("%s, %v", strings.Join(lines, "\n"), err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(exported)
	f.Add("#TYPE x\nprimaryEmail;aliases\na@b;c@d\n")
	f.Fuzz(func(t *testing.T, text string) {
		_ = Read(strings.NewReader(text), options(), func(r sources.Row) error {
			if r.Address == "" {
				t.Error("a row has no address")
			}
			return nil
		})
	})
}
