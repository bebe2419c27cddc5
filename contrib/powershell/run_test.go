package powershell_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/contrib/powershell"
)

// run runs a script in a world with one cmdlet, Get-Thing, and returns what it has written.
func run(t *testing.T, p *lab.PowerShell, text string) ([]string, error) {
	t.Helper()
	tree, err := p.Parse(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	script, err := powershell.Read(text, tree)
	if err != nil {
		return nil, err
	}
	world := &powershell.World{Answer: func(string) string { return "said" }, Cmdlets: map[string]powershell.Cmdlet{
		"get-thing": func(args *powershell.Table) ([]any, error) {
			return []any{powershell.NewTable("Name", "one", "Size", 1, "Given", args.Get("Given")), powershell.NewTable("Name", "two", "Size", 2)}, nil
		},
	}}
	err = world.Run(script)
	return world.Printed, err
}

func TestWhatTheScriptsUseIsAsInPowerShell(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for script, want := range map[string]string{
		`Write-Host ('A' -eq 'a') ($null -eq $nothing) (-not '') ($true -eq 'x')`:                                             "True True True True",
		`Write-Host "$('b', 'a' | Sort-Object) of '$nothing'"`:                                                                "a b of ''",
		`Write-Host ('it''s' -replace '^(.*)''s$', '$1 was')`:                                                                 "it was",
		`$a = @(); $a += 'x'; $a += 'y'; Write-Host $a.Count ($a -join ', ')`:                                                 "2 x, y",
		`$h = [ordered]@{ B = 1; 'a b' = -2 }; $h.C = 3; Write-Host "$($h.Keys) $($h['a b']) $($h.Count)"`:                    "B a b C -2 3",
		`function F($x, $y = $x) { if ($x -gt 1) { return "$x$y" }; 'low' }; Write-Host (F 2) (F 2 3) (F 1)`:                  "22 23 low",
		`foreach ($i in @(1, 2, 3)) { if ($i -eq 2) { continue }; Write-Host $i }`:                                            "1|3",
		`Write-Host (Get-Thing | Where-Object { $_.Size -in @(2, 3) } | ForEach-Object { $_.Name })`:                          "two",
		`$by = 'Name'; $all = @{ Given = 'g' }; Write-Host (& "Get-$('Thing')" @all | Select-Object -First 1).$by`:            "one",
		`Write-Host $(if ('a.example' -like '*.example') { 'yes' } else { 'no' })`:                                            "yes",
		`$x = 'outer'; function F { $x = 'inner' }; F; Write-Host $x`:                                                         "outer",
		`$s = Read-Host -AsSecureString 'word'; Write-Host $s ([Net.NetworkCredential]::new('', $s).Password)`:                "System.Security.SecureString said",
		`'a', 'b' | Export-Clixml f; Write-Host (Test-Path f) (Import-Clixml f); Remove-Item f; Write-Host (Test-Path f)`:     "True a b|False",
		`Write-Host $nothing.Count 'a'.Count @('a', 'b').Count ($false -eq $null) (0 -ne $null)`:                              "0 1 2 False True",
		`Write-Host (Join-Path $HOME 'f') (Get-Command Get-Thing).Name (Get-Command Get-Other -ErrorAction SilentlyContinue)`: powershell.Home + "/f get-thing ",
	} {
		got, err := run(t, p, script)
		if err != nil || !slices.Equal(got, strings.Split(want, "|")) {
			t.Errorf("%s\nwrites %q, %v, not %q", script, got, err, want)
		}
	}
}

func TestWhatIsNotKnownIsAnError(t *testing.T) {
	t.Parallel()
	p := lab.LendPowerShell(t)
	for script, want := range map[string]string{
		`Get-Other`: "Get-Other is not known here",
		"Write-Host x\nwhile ($true) { Write-Host }": "line 2: while_statement is not known here",
		`Write-Host (1 -bxor 2)`:                     "not known here",
		`'a'.Normalize()`:                            "not known here",
		`$a = @{ Given = 1 }; Get-Thing -Given 2 @a`: "given twice",
		`function F($x) { }; F 1 2`:                  "more arguments than parameters",
		"Write-Host x\nthrow 'it is wrong'":          "line 2 throws: it is wrong",
		"Write-Host x\nif ($true { Write-Host y }":   "is no PowerShell",
		"Write-Host 'caf\u00e9'":                     "line 1 is not plain ASCII",
		`Write-Host "a` + "`" + `n"`:                 "not known here",
	} {
		if _, err := run(t, p, script); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nends with %v, not %q", script, err, want)
		}
	}
}
