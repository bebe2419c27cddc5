package setup

// sides is the table of sides.
func sides() []side {
	return []side{
		{"postfix", postfix, retirePostfix},
		{"sendmail", sendmail, retireSendmail},
		{"google", google, retireGoogle},
		{"dns", dns, retireDNS},
	}
}
