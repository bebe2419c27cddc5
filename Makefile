# make demo   real mail through a real Postfix, and a table of where it went;
#             make demo MTA=sendmail: through a real Sendmail
# make quick  what needs no server program: under a minute, and no network after "go mod download"
# make lint   the habits that a program can see to; its tools are fetched and built once
# make test   everything, with the race detector, a real Postfix, clamd and rspamd, as CI runs it

PREFIX  ?= /usr/local
# Fish looks below /usr/local only where XDG_DATA_DIRS says so.
FISH    := $(if $(filter /usr,$(PREFIX)),/usr/share/fish/vendor_completions.d,/etc/fish/completions)
LAB     := $(CURDIR)/.lab
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FUZZTIME ?= 60s
MTA     ?= postfix

# From 1.21 on, Go fetches by itself the version that go.mod asks for. An older one does
# not know what go.mod says, and complains of that.
WANTED  := install Go 1.21 or later, which fetches by itself the version that go.mod asks for (https://go.dev/dl)
GO_LACK  = $(shell have=$$(cd / && go version 2>/dev/null); \
	minor=$$(echo "$$have" | sed -n 's/.*go1\.\([0-9]*\).*/\1/p'); \
	[ "$${minor:-0}" -ge 21 ] || echo "$${have:-there is no go in PATH}: $(WANTED)")

# It tells of each test as it ends, on a terminal and without one.
GOTESTSUM := go tool -modfile=contrib/tools/go.mod gotestsum

# The linters are a module of their own, so that they do not choose the libraries of the above.
LINT_TOOL := go tool -modfile=contrib/tools/lint/go.mod

.PHONY: build demo quick test race vet lint vuln fuzz bench bench-directories docs install uninstall clean go lab cc npm

build: go
	go build -trimpath -buildvcs=false -ldflags "-X main.version=$(VERSION)" -o coexistd ./cmd/coexistd

go:
	@: $(if $(GO_LACK),$(error $(GO_LACK)))

lab:
	@contrib/lab/fetch.sh $(LAB)

demo: go lab build
	@go run ./contrib/demo --lab $(LAB) --mta $(MTA)

# Tests that borrow a program of the lab, and those of contrib/e2e, know -short. Of lint
# it has only what needs no tool but Go.
quick: vet
	go test -short ./...

test: lint race

# The race detector and the C milter of the benchmark need a C compiler.
cc:
	@command -v $${CC:-gcc} >/dev/null || { echo "installing Debian's gcc and libc6-dev"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends gcc libc6-dev; }

# It brings node, too, in which the tests read PowerShell. It needs too many packages to be
# unpacked like the lab's other programs.
npm:
	@command -v npm >/dev/null && command -v node >/dev/null || { echo "installing Debian's npm"; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends npm; }

# Tests mostly wait, so more of them run side by side than a small machine has
# processors. Each wait has a bound of its own; the one here is for a package that
# hangs. A test that is skipped would be one that says nothing: none may be. "lint" has
# had all looked at by "go vet", so that "go test" need not do so once more.
race: go cc npm
	@contrib/lab/fetch.sh --scanners --directories --powershell --prometheus --journal $(LAB)
	$(GOTESTSUM) --format testname --format-hide-empty-pkg --jsonfile $(LAB)/tests.json -- \
		-race -vet=off -count=1 -p 3 -parallel 8 -timeout 60m ./...
	@! grep '"Action":"skip".*"Test":' $(LAB)/tests.json || { echo 'make test: these tests were skipped; all must run' >&2; exit 1; }

vet: go
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'gofmt: run gofmt -w on the files above' >&2; exit 1; }
	go vet ./...

# Dead is what not even a test reaches, and in what is shipped, what only tests reach. One
# function is there for tests: they go through all replies by it.
lint: vet
	$(LINT_TOOL) golangci-lint run --allow-parallel-runners -c contrib/tools/golangci.yml ./...
	@unreached=$$($(LINT_TOOL) deadcode -test ./...) && \
	tested=$$($(LINT_TOOL) deadcode -filter '^coexistd/(cmd|milter|scanners|policy)' ./cmd/... ./contrib/...) || exit 1; \
	dead=$$(printf '%s\n' "$$unreached" "$$tested" | grep -v -e '^$$' -e '^policy/verdict/reply.go:.*: unreachable func: Replies$$'); \
	test -z "$$dead" || { echo "$$dead"; echo 'deadcode: remove the functions above, which nothing calls but tests' >&2; exit 1; }

# What is known of the libraries' faults changes from day to day, so this is no part of test.
vuln: go
	@said=$$($(LINT_TOOL) govulncheck ./... 2>&1) && { echo "$$said"; exit 0; }; \
	case "$$said" in \
	*'Get "https://vuln.go.dev/'*) echo 'govulncheck: the database at vuln.go.dev cannot be reached, so nothing is known' >&2;; \
	*) echo "$$said" >&2;; \
	esac; exit 2

fuzz: go
	contrib/fuzz.sh $(FUZZTIME)

bench: go cc
	@contrib/lab/fetch.sh --bench $(LAB)
	go run ./contrib/bench
	go run ./contrib/bench -flood

# A million addresses in slapd, PostgreSQL, MariaDB and a file; it takes a quarter of an hour.
bench-directories: go
	@contrib/lab/fetch.sh --directories $(LAB)
	go run ./contrib/bench -directories -rounds 3

# The manual and the completions of the shells, as the table of commands has it.
docs: go
	WRITE_DOCS=1 go test -count=1 -run TheManual ./cmd/coexistd

install: build
	install -D -m 0755 coexistd $(DESTDIR)$(PREFIX)/sbin/coexistd
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0644 contrib/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -D -m 0644 contrib/completions/coexistd.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/coexistd
	install -D -m 0644 contrib/completions/_coexistd $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_coexistd
	install -D -m 0644 contrib/completions/coexistd.fish $(DESTDIR)$(FISH)/coexistd.fish
	sed 's|/usr/local/sbin/|$(PREFIX)/sbin/|' contrib/systemd/coexistd.service | \
		install -D -m 0644 /dev/stdin $(DESTDIR)/usr/lib/systemd/system/coexistd.service
	install -D -m 0644 contrib/systemd/coexistd.socket $(DESTDIR)/usr/lib/systemd/system/coexistd.socket
	install -D -m 0644 contrib/systemd/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/coexistd.conf
	install -D -m 0644 contrib/systemd/tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/coexistd.conf

# What an administrator has written, and what the daemon keeps, stays.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/coexistd \
		$(DESTDIR)$(PREFIX)/share/man/man8/coexistd.8 $(DESTDIR)$(PREFIX)/share/man/man8/coexistd-*.8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/coexistd \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_coexistd \
		$(DESTDIR)$(FISH)/coexistd.fish \
		$(DESTDIR)/usr/lib/systemd/system/coexistd.service $(DESTDIR)/usr/lib/systemd/system/coexistd.socket \
		$(DESTDIR)/usr/lib/sysusers.d/coexistd.conf $(DESTDIR)/usr/lib/tmpfiles.d/coexistd.conf
	@echo 'uninstall: /etc/coexistd, /var/lib/coexistd and the user coexistd are left; remove them when you need them no more'

clean:
	rm -rf coexistd $(LAB) .bench
