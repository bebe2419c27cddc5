package spoof

import "coexistd/policy/mail"

// Proven returns the one author of a message, where SPF or a signature proves the domain of
// their address by the modes of DMARC (RFC 7489 section 3.1). It is the null address where
// there is another From field or author, where nothing proves the domain, and where nobody was
// asked. That a stranger signs with their own domain proves nothing of whom they name.
func (f *Facts) Proven() mail.Address {
	if f.Authentication == nil || f.Authors.Fields != 1 || f.Authors.Broken != "" || len(f.Authors.From) != 1 {
		return mail.Address{}
	}
	author := f.Authors.From[0].Address
	proving := f.proving()
	if author.Domain == "" || f.Names.aligned(proving, proving.dmarc(author.Domain)) != AuthPass {
		return mail.Address{}
	}
	return author
}
