package postconf

// Class is a setting of Postfix that lists domains which it takes mail for (ADDRESS_CLASS_README).
type Class struct {
	// Domains is its name; Transport that of the setting which says how the mail is
	// delivered, and Recipients that of the one which says who exists. They are empty for
	// alias domains, whose mail is delivered to others.
	Domains, Transport, Recipients string
}

// Classes are in the order in which Postfix asks for them: the first that has a domain counts.
var Classes = [...]Class{
	{"mydestination", "local_transport", "local_recipient_maps"},
	{"virtual_alias_domains", "", ""},
	VirtualMailboxes(),
	{"relay_domains", "relay_transport", "relay_recipient_maps"},
}

// VirtualMailboxes is the class of domains whose users are no accounts of the host.
func VirtualMailboxes() Class {
	return Class{"virtual_mailbox_domains", "virtual_transport", "virtual_mailbox_maps"}
}
