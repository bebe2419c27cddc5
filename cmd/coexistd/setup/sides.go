package setup

// sides is the table of sides.
func sides() []side {
	return []side{
		{"postfix", postfix, retirePostfix},
		{"sendmail", sendmail, retireSendmail},
		{"office365", office365, retireOffice365},
		{"google", google, retireGoogle},
		{"dns", dns, retireDNS},
	}
}
