package daemon

import (
	"fmt"
	"slices"

	"coexistd/policy/config"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// LostReports tells which addresses of [quarantine.report] nobody has by the directories: mail
// to them is refused, so that reports, or what is answered to them, would be lost. There is
// one problem for each address.
func LostReports(conf *config.Config, directories *directory.Set) (lost mistakes.Problems) {
	report := conf.Quarantine.Report
	var seen []string
	for _, of := range []struct {
		key       string
		addresses []string
	}{{"from", []string{report.From}}, {"contact", []string{report.Contact}}, {"summary", report.Summary}} {
		for _, text := range of.addresses {
			address, err := mail.ParseAddress(text, conf.Rules.Delimiters)
			if err != nil || conf.Rules.Routes.Domains[address.Domain] == nil || slices.Contains(seen, address.Key) {
				continue
			}
			seen = append(seen, address.Key)
			listing := directories.List(address)
			if listing.Failed || conf.Rules.Routes.Locate(address, listing).Kind != route.Nowhere {
				continue
			}
			lost = append(lost, mistakes.Problem{Place: mistakes.Place{File: conf.Path, Key: "quarantine.report." + of.key}, Text: fmt.Sprintf(
				"%s is not in the directory of %s, so that mail to it is refused; list it there, or write an address that somebody has", text, address.Domain)})
		}
	}
	return lost
}

// LostArchive tells that mail cannot be copied to the archive, by the directories, and so is put
// off.
func LostArchive(conf *config.Config, directories *directory.Set) (lost mistakes.Problems) {
	archive := conf.Rules.Archive
	if archive == nil {
		return nil
	}
	listing := directories.List(archive.Address)
	if _, why := conf.Rules.FindArchive(listing); why.Code != "" && !listing.Failed {
		lost = append(lost, mistakes.Problem{Place: mistakes.Place{File: conf.Path, Key: "archive.address"}, Text: fmt.Sprintf(
			"%s, so that all mail which is to be archived is put off; have the directory say where it lives, or write another address", why)})
	}
	return lost
}

// tellLost logs what LostReports and LostArchive find, once until they find something else.
func (d *Daemon) tellLost() {
	conf, set := d.current.conf, d.runtime.Load().Directory
	reports, archive := LostReports(conf, set), LostArchive(conf, set)
	text := reports.Error() + archive.Error()
	if text == d.lost {
		return
	}
	d.lost = text
	for _, one := range reports {
		d.log.Error("reports of the quarantine would be lost", "error", one.String())
	}
	for _, one := range archive {
		d.log.Error("mail cannot be archived", "error", one.String())
	}
}
