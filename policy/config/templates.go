package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config/files"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
)

// Template is a file with a text of the organisation's own for the quarantine's mails.
type Template struct {
	// Domain is that of the recipients of whose held messages the mail tells, in normal form.
	// Empty: all for whom there is no other.
	Domain string
	// Path is absolute. Its last element is one of TemplateNames.
	Path string
}

// TemplateNames are the files that a folder of templates can have: the report to recipients
// and the summary for administrators, each as plain text and as HTML.
var TemplateNames = []string{"report.html", "report.txt", "summary.html", "summary.txt"}

// templates finds the files of the folder [quarantine] templates, and of its folders that are
// named by a domain of ours.
func (r *reader) templates(one *schema.Table) (found []Template) {
	name, said := schema.Said[string](one, "templates")
	if !said {
		return nil
	}
	dir := r.path(name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		one.Fail("templates", "%s %v; write the path of a folder with some of %s", wording.Quote(dir), files.Plain(err), strings.Join(TemplateNames, ", "))
		return nil
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			found = append(found, r.template(one, "", path)...)
		} else if !isHidden(path) {
			found = append(found, r.domainTemplates(one, path)...)
		}
	}
	if len(found) == 0 {
		r.note("[quarantine] templates has none of %s in %s: the built-in texts are used", strings.Join(TemplateNames, ", "), dir)
	}
	return found
}

// domainTemplates finds the files for one domain.
func (r *reader) domainTemplates(one *schema.Table, dir string) (found []Template) {
	domain := filepath.Base(dir)
	if r.config.Rules.Routes.Domains[domain] == nil {
		one.Fail("templates", `%s is named like no [domain."NAME"] of this file; give it the name of one, in lower case, or remove it`, wording.Quote(dir))
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		one.Fail("templates", "%s %v", wording.Quote(dir), files.Plain(err))
	}
	for _, entry := range entries {
		found = append(found, r.template(one, domain, filepath.Join(dir, entry.Name()))...)
	}
	return found
}

// template takes a file, or none: what nobody would take for a template is left alone.
func (r *reader) template(one *schema.Table, domain, path string) []Template {
	name := filepath.Base(path)
	switch {
	case slices.Contains(TemplateNames, name):
		r.names(one.At("templates").Key, path, true)
		return []Template{{domain, path}}
	case !isHidden(path) && slices.Contains([]string{".html", ".txt"}, filepath.Ext(name)):
		one.Fail("templates", "%s is not used: a template's name is one of %s", wording.Quote(path), strings.Join(TemplateNames, ", "))
	}
	return nil
}

func isHidden(path string) bool { return strings.HasPrefix(filepath.Base(path), ".") }
