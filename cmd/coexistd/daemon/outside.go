package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/audit"
	"coexistd/milter/sources"
	"coexistd/milter/sources/exports"
	"coexistd/milter/sources/ldap"
	"coexistd/milter/sources/sqldb"
	"coexistd/policy/config"
	"coexistd/policy/config/files"
	"coexistd/policy/directory"
	"coexistd/policy/route"
)

// outside is a source of a configuration, with all that its rows depend on, by which a
// running Poller is found again.
type outside struct {
	config.Outside
	polling sources.Polling
	reaches map[string]string // the platforms that domains reach
	trust   string            // what its ca_file holds, or why that cannot be read
}

// poller is one that runs.
type poller struct {
	outside
	*sources.Poller
	stop context.CancelFunc // does not wait for its end
}

// outsidesOf are the sources that a configuration's domains name.
func outsidesOf(conf *config.Config) []outside {
	reaches := make(map[string]string)
	for _, domain := range conf.Rules.Routes.Alternates() {
		reaches[domain] = conf.Rules.Routes.AlternateOf(domain).Name
	}
	var all []outside
	for _, o := range conf.Outsides {
		i := slices.IndexFunc(conf.Directories, func(s directory.Source) bool { return s.Path == config.SourcePrefix+o.Name })
		if i < 0 {
			continue
		}
		s := conf.Directories[i]
		trust, err := authorities(o.CAFile)
		if err != nil {
			trust = err.Error()
		}
		all = append(all, outside{*o, sources.Polling{
			Name: s.Path, Copy: s.Copy, Columns: slices.Concat(s.Limits, []string{route.ReportToColumn}), Domains: slices.Sorted(maps.Keys(s.Domains)),
			Interval: o.Interval, FullInterval: o.FullInterval, FullTimeout: o.FullTimeout,
		}, reaches, trust})
	}
	return all
}

// CheckOutsides tells what is wrong with how the sources of a configuration would be asked.
// It asks none.
func CheckOutsides(conf *config.Config) error {
	var errs []error
	for _, o := range outsidesOf(conf) {
		reader, err := o.reader()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		reader.Close()
	}
	return errors.Join(errs...)
}

// reader makes what reads a source.
func (o *outside) reader() (reader sources.Reader, err error) {
	secure, err := o.tls()
	if err == nil {
		switch o.Type {
		case config.LDAP:
			reader, err = o.ldap(secure)
		case config.SQL:
			reader, err = o.sql(secure)
		default:
			reaches := func(domain string) bool { return o.reaches[domain] == o.Platform }
			reader = exports.New(o.File, exports.Options{Residence: o.Platform, Keep: o.keeps, Target: reaches})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.polling.Name, err)
	}
	return reader, nil
}

func (o *outside) tls() (*tls.Config, error) {
	if o.CAFile == "" {
		return &tls.Config{}, nil
	}
	text, err := authorities(o.CAFile)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM([]byte(text)) {
		return nil, fmt.Errorf("the ca_file %s holds no certificate in PEM", o.CAFile)
	}
	return &tls.Config{RootCAs: trusted}, nil
}

// authorities reads a ca_file; no path: nothing is read.
func authorities(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	const most = 1 << 20
	text, _, err := files.Read(path, most)
	if err != nil {
		return "", fmt.Errorf("the ca_file %s %w", path, err)
	}
	return text, nil
}

func (o *outside) keeps(domain string) bool { return slices.Contains(o.polling.Domains, domain) }

func (o *outside) ldap(secure *tls.Config) (sources.Reader, error) {
	var options ldap.Options
	if o.Preset != "" {
		presets := ldap.Presets(o.Platform)
		preset, known := presets[o.Preset]
		if !known {
			return nil, fmt.Errorf("the preset %q is none of LDAP; it would be one of %s", o.Preset, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
		}
		options = preset
	}
	options.Servers, options.StartTLS, options.TLS = o.Servers, o.StartTLS, secure
	options.Bind, options.Password, options.Base, options.Timeout = o.User, o.Password, o.Base, o.Timeout
	options.Filter = cmp.Or(o.Filter, options.Filter)
	for _, one := range []struct {
		own    []string
		preset *[]string
	}{{o.Address, &options.Address}, {o.Aliases, &options.Aliases}, {o.Login, &options.Login}, {o.Target, &options.Target}, {o.Kind, &options.Kind}} {
		if one.own != nil {
			*one.preset = one.own
		}
	}
	if o.Kinds != nil {
		options.Kinds = choices(o.Kinds)
	}
	options.Further, options.Keep = o.Columns, o.keeps
	of := &options.Residence
	of.Attribute, of.Default = cmp.Or(o.Residence.Attribute, of.Attribute), cmp.Or(o.Residence.Default, of.Default)
	of.Groups, of.Nested = choices(o.Residence.Groups), o.Residence.Nested
	if o.Residence.Values != nil {
		of.Values = choices(o.Residence.Values)
	}
	of.Platforms = func(domain string) string { return o.reaches[domain] }
	return ldap.New(options)
}

// choices are in the order in which they count: whole values before numbers with bits,
// and these before beginnings, of which longer ones go first.
func choices(of map[string]string) (all []ldap.Choice) {
	class := func(value string) int {
		switch {
		case strings.HasSuffix(value, "*"):
			return 2
		case strings.HasPrefix(value, "&"):
			return 1
		}
		return 0
	}
	values := slices.SortedFunc(maps.Keys(of), func(a, b string) int {
		return cmp.Or(class(a)-class(b), len(b)-len(a), strings.Compare(a, b))
	})
	for _, value := range values {
		all = append(all, ldap.Choice{Value: value, Means: of[value]})
	}
	return all
}

func (o *outside) sql(secure *tls.Config) (sources.Reader, error) {
	options := sqldb.Options{
		Driver: o.Driver, Database: o.Database, User: o.User, Password: o.Password, Query: o.Query, MarkQuery: o.MarkQuery,
		Keep: o.keeps, Residences: o.Residence.Values, Default: o.Residence.Default, Timeout: o.Timeout,
	}
	if o.TLS {
		options.TLS = secure
	}
	switch {
	case len(o.Servers) == 1:
		options.Server = o.Servers[0]
	case len(o.Servers) > 1:
		return nil, errors.New("servers names several; an SQL source has one")
	}
	if o.Preset != "" {
		preset, err := sqldb.FindPreset(o.Preset)
		if err != nil {
			return nil, err
		}
		if o.Query == "" {
			options.Query, options.MarkQuery = preset.Query, cmp.Or(o.MarkQuery, preset.MarkQuery)
		}
		options.Default = cmp.Or(o.Residence.Default, preset.Default)
	}
	return sqldb.New(options)
}

// follow has the sources of the current configuration polled, and no others. One that stays
// as it is goes on, with all that it knows.
func (d *Daemon) follow() {
	wanted := outsidesOf(d.current.conf)
	d.pollers = slices.DeleteFunc(d.pollers, func(p *poller) bool {
		if slices.ContainsFunc(wanted, p.is) {
			return false
		}
		p.stop()
		return true
	})
	for _, o := range wanted {
		if !slices.ContainsFunc(d.pollers, func(p *poller) bool { return p.is(o) }) {
			d.poll(o, o.reader)
		}
	}
}

// poll has a source polled by what open makes. It begins when the Poller before it has ended,
// which may hang: both would write the same files.
func (d *Daemon) poll(o outside, open func() (sources.Reader, error)) {
	ctx, stop := context.WithCancel(d.awake)
	p := &poller{o, sources.NewPoller(o.polling, open, d.log), stop}
	before, ended := d.ended[o.polling.Copy], make(chan struct{})
	d.serving.Go(func() {
		defer close(ended)
		p.Run(ctx, before)
	})
	d.ended[o.polling.Copy] = ended
	d.pollers = append(d.pollers, p)
}

// accept takes the list of a source that waits.
func (d *Daemon) accept(ctx context.Context, what control.Accept) (done control.Done, err error) {
	d.change(func() {
		lists := d.current.directories
		i := slices.IndexFunc(lists, func(one *sources.List) bool { return one.Source.Path == what.Source && one.Source.Copy != "" })
		if i < 0 {
			err = refusal{http.StatusBadRequest, fmt.Sprintf("%q is not a source that the daemon has; it would be like source:people", what.Source)}
			return
		}
		if done.Found, err = lists[i].Accept(what.Digest); err == nil && done.Found {
			d.log.Info("directory accepted", "path", what.Source, "digest", what.Digest, "addresses", lists[i].Snapshot.Len())
			d.publish()
		}
	})
	d.audit(askerOf(ctx), audit.Accept, what.Source, "", done.Found, err)
	return done, err
}

// is reports that a running poller polls just that source.
func (p *poller) is(o outside) bool { return reflect.DeepEqual(p.outside, o) }
