package setup

// sides is the table of sides.
func sides() []side {
	return []side{
		{"postfix", postfix, retirePostfix},
		{"google", google, retireGoogle},
		{"dns", dns, retireDNS},
	}
}
