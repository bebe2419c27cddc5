package ldap

// Presets returns what is usual for each kind of server, by its name: what is asked for and
// what it means, all but Servers, Base and who binds. Elsewhere is the platform where
// Exchange's remote mailboxes live. A setting of the administrator takes the place of the
// preset's.
func Presets(elsewhere string) map[string]Options {
	return map[string]Options{
		"openldap": openLDAP(), "mithi": mithi(), "zimbra": zimbra(), "ad": activeDirectoryUsers(), "exchange": exchange(elsewhere),
	}
}

// openLDAP is for inetOrgPerson, with inetLocalMailRecipient or qmailUser where they are
// used: mailHost tells the residence when its values are given a meaning.
func openLDAP() Options {
	return Options{
		Filter:  "(|(mail=*)(mailLocalAddress=*)(mailAlternateAddress=*))",
		Address: []string{"mail"},
		Aliases: []string{"mailLocalAddress", "mailAlternateAddress"},
		Login:   []string{"uid", "mail"},
		Target:  []string{"mailRoutingAddress"},
		Kind:    []string{"objectClass"},
		Kinds: []Choice{
			{"groupOfNames", "group"}, {"groupOfUniqueNames", "group"}, {"posixGroup", "group"}, {"nisMailAlias", "group"},
			{"mailGroup", "group"}, {"inetOrgPerson", "user"},
		},
		Residence: Residence{Attribute: "mailHost", Default: here},
	}
}

// mithi is for Mithi SkyConnect and its like: inetOrgPerson, and whatever else has an address,
// such as lists, which the MTA takes mail for. A mailForwardingAddress is what users choose:
// it tells nothing of where the mailbox lives, and the MTA goes on obeying it.
func mithi() Options {
	o := openLDAP()
	o.Filter = "(|(mail=*)(mailAlternateAddress=*))"
	o.Aliases = []string{"mailAlternateAddress"}
	return o
}

// zimbra is for Zimbra's own directory. It has one uid in several domains, so that only an
// address tells a login. zimbraMailTransport tells the residence when its values are given a
// meaning.
func zimbra() Options {
	return Options{
		Filter: "(&(|(objectClass=zimbraAccount)(objectClass=zimbraDistributionList)(objectClass=zimbraGroup))" +
			"(zimbraMailStatus=enabled))",
		Address: []string{"zimbraMailDeliveryAddress", "mail"},
		Aliases: []string{"zimbraMailAlias"},
		Login:   []string{"zimbraMailDeliveryAddress"},
		Kind:    []string{"objectClass"},
		Kinds: []Choice{
			{"zimbraDistributionList", "group"}, {"zimbraGroup", "group"}, {"zimbraCalendarResource", "room"}, {"zimbraAccount", "user"},
		},
		Residence: Residence{Attribute: "zimbraMailTransport", Default: here},
	}
}

// activeDirectoryUsers is for Active Directory without Exchange. A computer is a user by its
// class and no person by its category. An account that is disabled counts only where it
// has a targetAddress: so the other platform's shared mailboxes and rooms look.
func activeDirectoryUsers() Options {
	const disabled = "(userAccountControl:1.2.840.113556.1.4.803:=2)"
	return Options{
		Filter: "(&(|(mail=*)(proxyAddresses=*))(|(objectClass=group)(objectClass=contact)" +
			"(&(objectCategory=person)(objectClass=user)(|(!" + disabled + ")(targetAddress=*)))))",
		Address:   []string{"mail"},
		Aliases:   []string{"proxyAddresses"},
		Login:     []string{"sAMAccountName", "userPrincipalName"},
		Target:    []string{"targetAddress"},
		Kind:      []string{"objectClass"},
		Kinds:     []Choice{{"group", "group"}, {"user", "user"}},
		Residence: Residence{Default: here},
	}
}

// exchange is for Active Directory with Exchange's schema. Accounts of shared mailboxes and
// rooms are disabled, so what counts is that Exchange knows the entry; not every group has
// the attribute. Contacts and mail users (64, 128) live where their targetAddress is, and
// groups here.
func exchange(elsewhere string) Options {
	o := activeDirectoryUsers()
	o.Filter = "(&(proxyAddresses=*)(|(msExchRecipientTypeDetails=*)(objectClass=group)(objectClass=msExchDynamicDistributionList)))"
	o.Kind = []string{"msExchRecipientTypeDetails", "objectClass"}
	o.Kinds = []Choice{
		{"1", "user"}, {"2", "user"}, {"8", "user"}, {"64", "user"}, {"128", "user"}, {"2147483648", "user"},
		{"4", "shared"}, {"34359738368", "shared"},
		{"16", "room"}, {"32", "room"}, {"8589934592", "room"}, {"17179869184", "room"},
		{"256", "group"}, {"512", "group"}, {"1024", "group"}, {"2048", "group"},
		{"group", "group"}, {"msExchDynamicDistributionList", "group"},
	}
	o.Residence.Attribute = "msExchRecipientTypeDetails"
	for _, mailbox := range []string{"1", "2", "4", "8", "16", "32"} {
		o.Residence.Values = append(o.Residence.Values, Choice{mailbox, here})
	}
	for _, remote := range []string{"2147483648", "8589934592", "17179869184", "34359738368"} {
		o.Residence.Values = append(o.Residence.Values, Choice{remote, elsewhere})
	}
	return o
}
