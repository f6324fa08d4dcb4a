# make help lists the targets.
#
# What it takes: Linux, GNU make, Go as go.mod says; for tests and demo also root and the packages of "make deps".

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

# What git says, unless VERSION is given: the same text in programs, packages and man pages.
version  := $(or $(shell sh deploy/version.sh $(VERSION)),$(error no valid version))
GO       ?= go
ARCH     ?= $(shell $(GO) env GOARCH)
BIN      ?= bin
DIST     ?= dist
TIMEOUT  ?= 15m
# How many tests of a package run at once: most wait for what they test, and not for a processor.
PARALLEL ?= 4
FUZZTIME ?= 30s
# Go benchmarks: how often each runs, and which.
COUNT    ?= 1
MICRO    ?= .
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Where install puts things; a package build sets DESTDIR. Debian's zsh looks for what packages bring in a place of its own.
DESTDIR ?=
PREFIX  ?= /usr
ZSH     ?= $(PREFIX)/share/zsh/$(if $(wildcard /etc/debian_version),vendor-completions,site-functions)
doc      = $(PREFIX)/share/doc/natd
# SOURCE:DESTINATION, for install, uninstall and the packages.
files    = $(BIN)/natd:$(PREFIX)/sbin/natd \
	$(BIN)/natctl:$(PREFIX)/sbin/natctl \
	systemd/natd.service:$(PREFIX)/lib/systemd/system/natd.service \
	systemd/natd.sysusers:$(PREFIX)/lib/sysusers.d/natd.conf \
	$(BIN)/share/natd.8.gz:$(PREFIX)/share/man/man8/natd.8.gz \
	$(BIN)/share/natctl.1.gz:$(PREFIX)/share/man/man1/natctl.1.gz \
	$(BIN)/share/natd.toml.5.gz:$(PREFIX)/share/man/man5/natd.toml.5.gz \
	$(BIN)/share/natctl.bash:$(PREFIX)/share/bash-completion/completions/natctl \
	$(BIN)/share/_natctl:$(ZSH)/_natctl \
	$(BIN)/share/natctl.fish:$(PREFIX)/share/fish/vendor_completions.d/natctl.fish \
	$(foreach file,prometheus/prometheus.yml prometheus/natd.rules.yml prometheus/natd.rules.test.yml grafana/natd.json,deploy/$(file):$(PREFIX)/share/natd/$(file)) \
	deploy/packages/copyright:$(doc)/copyright \
	$(BIN)/share/natd.toml:$(doc)/config.example.toml \
	$(foreach file,README.md CHANGELOG.md LICENSE $(wildcard docs/*.md docs/images/*.png),$(file):$(doc)/$(file))
config   = $(DESTDIR)/etc/natd/natd.toml
# natd reads its configuration as a member of its group. A package build knows no such group: there the package gives it.
access   = -m 0640 $(if $(DESTDIR),,$$(getent group natd >/dev/null && echo -g natd))

# Debian's names for what tests and demo run: the race detector needs a C compiler, the rest are the programs of the lab.
PACKAGES := bind9-dnsutils conntrack curl dnsmasq-base gcc iperf3 iproute2 jq libc6-dev netbase netcat-openbsd nftables \
	nginx-light procps systemd tcpdump
# What the tests take, besides: a browser for the status page, other firewalls beside natd, a Prometheus.
TEST_PACKAGES = chromium fonts-dejavu-core iptables prometheus $(BENCH_PACKAGES)
# What takes part in the benchmark, besides.
BENCH_PACKAGES := dbus-daemon firewalld haproxy libnginx-mod-stream nftlb socat
# What the check of the packages takes, besides.
PACKAGE_TOOLS := jq lintian man-db mandoc mmdebstrap rpm shellcheck

# What virtual machines are made of.
VM_PACKAGES := apt busybox-static cpio debian-archive-keyring dosfstools e2fsprogs kmod mmdebstrap mtools qemu-system-x86 xz-utils zstd

# The same for deploy-check; node may come from elsewhere.
DEPLOY_PACKAGES := mmdebstrap shellcheck $(if $(shell command -v npm),,nodejs npm)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/natd and bin/natctl, static
	CGO_ENABLED=0 GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w -X main.version=$(version)' -o '$(BIN)/' ./cmd/natd ./cmd/natctl

.PHONY: share
share: ## Write bin/share: man pages, shell completions and the first configuration
	@GO='$(GO)' VERSION='$(version)' sh deploy/share.sh '$(BIN)/share'

.PHONY: deps
deps: ## Install the Debian packages that tests and demo need (root)
	@PACKAGES='$(PACKAGES) $(TEST_PACKAGES)' sh deploy/deps.sh

.PHONY: deps-demo
deps-demo:
	@PACKAGES='$(PACKAGES)' sh deploy/deps.sh

.PHONY: demo
demo: root deps-demo build ## Show a relay between three VPCs at work, with real nginx and curl (root)
	$(GO) run ./internal/lab/demo --natd bin/natd --natctl bin/natctl

.PHONY: test
test: deps build ## Run all tests with the race detector (root; what needs root is skipped without)
	CGO_ENABLED=1 $(GO) test -race -count=1 -parallel=$(PARALLEL) -timeout=$(TIMEOUT) ./...

.PHONY: test-short
test-short: ## Run the quick tests, without root, packages or a C compiler
	$(GO) test -short -count=1 -timeout=$(TIMEOUT) ./...

.PHONY: test-vm
test-vm: root ## Boot virtual machines: packages, unit, upgrade, cloud-init, other kernels (root; RUN selects)
	@PACKAGES='$(VM_PACKAGES)' sh deploy/deps.sh
	@ARCHES=amd64 FORMATS=deb $(MAKE) -s packages VERSION=0.0.1 DIST=dist/vm/old
	@ARCHES=amd64 FORMATS=deb $(MAKE) -s packages VERSION=0.0.2 DIST=dist/vm/new
	$(GO) run ./internal/vm/scenarios -packages dist/vm -run '$(RUN)'

.PHONY: bench
bench: root deps-bench build ## Let natd compete with other rulesets and programs, in full: some hours (root; BENCH has flags)
	$(GO) build -o '$(BIN)/bench' ./bench
	nice -n -20 '$(BIN)/bench' -bin '$(BIN)' $(BENCH)

.PHONY: bench-quick
bench-quick: ## The same in less than two minutes
	@$(MAKE) -s bench BENCH='-quick $(BENCH)'

.PHONY: bench-micro
bench-micro: ## Run Go's benchmarks COUNT times (1), those that match MICRO; benchstat compares two outputs
	@$(GO) test -run='^$$' -bench='$(MICRO)' -benchmem -count=$(COUNT) -timeout=$(TIMEOUT) \
		$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

.PHONY: deps-bench
deps-bench:
	@PACKAGES='$(PACKAGES) $(BENCH_PACKAGES)' sh deploy/deps.sh

.PHONY: lint
lint: ## Check formatting (gofumpt), style, the import law and go.mod
	$(GOLANGCI) run --build-tags=vm ./...
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: deploy-check
deploy-check: ## Check what deploy/ holds: user-data at work in a Debian root, cloud-config, CloudFormation, Terraform (root)
	@PACKAGES='$(DEPLOY_PACKAGES)' sh deploy/deps.sh
	shellcheck deploy/*.sh .ci/run
	npm ci --prefix deploy/check --no-audit --no-fund --loglevel=error
	cd deploy/check && $(GOLANGCI) run ./... && $(GO) mod tidy -diff && $(GO) test -count=1 -timeout=$(TIMEOUT) ./...

.PHONY: deploy-update
deploy-update: ## Copy deploy/user-data.sh anew into the files that hold it
	cd deploy/check && $(GO) test -count=1 -run=UserDataCopies ./... -update

.PHONY: fmt
fmt: ## Format the code as lint wants it
	$(GOLANGCI) fmt ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (30s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | while read -r file target; do \
		echo "== $$target ($${file%/*})"; \
		$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) "$${file%/*}" || exit 1; \
	done

.PHONY: cover
cover: ## Write coverage.html and print the total
	$(GO) test -count=1 -timeout=$(TIMEOUT) -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: install
install: build share ## Install programs, service, man pages, completion and, if there is none, a configuration (DESTDIR, PREFIX)
	@umask 022; for file in $(files); do \
		mode=0644; case $$file in */sbin/*) mode=0755 ;; esac; \
		install -D -m $$mode "$${file%%:*}" "$(DESTDIR)$${file#*:}" || exit 1; \
	done
	sed -i 's|/usr/|$(PREFIX)/|g' '$(DESTDIR)$(PREFIX)/lib/systemd/system/natd.service'
ifeq ($(DESTDIR),)
	if command -v systemd-sysusers >/dev/null; then systemd-sysusers '$(PREFIX)/lib/sysusers.d/natd.conf'; fi
endif
	[ -e '$(config)' ] || install -D $(access) '$(BIN)/share/natd.toml' '$(config)'
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	@echo 'Edit $(config), see that "natctl check" likes it, then: systemctl enable --now natd'
endif

.PHONY: uninstall
uninstall: ## Remove what install installed; configuration, state and the rules in the kernel stay
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ] && [ -e '$(PREFIX)/lib/systemd/system/natd.service' ]; then systemctl disable --now natd.service; fi
endif
	@for file in $(files); do rm -f "$(DESTDIR)$${file#*:}"; done
	@for dir in '$(DESTDIR)$(doc)' '$(DESTDIR)$(PREFIX)/share/natd'; do \
		[ ! -d "$$dir" ] || find "$$dir" -depth -type d -empty -delete; \
	done
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
endif
	@echo 'Left alone: /etc/natd, /var/lib/natd, /var/log/natd, the user natd, and the rules in the kernel'
	@echo '(which "natctl flush" removes: run it before "make uninstall", or bin/natctl flush now).'

.PHONY: packages
packages: ## Build deb and rpm for amd64 and arm64, SBOM and checksums in dist/ (VERSION, DIST)
	@MAKE='$(MAKE)' GO='$(GO)' VERSION='$(version)' sh deploy/packages/build.sh '$(DIST)'

.PHONY: packages-check
packages-check: ## Build the packages twice, compare, check them, and install, upgrade and remove them in a chroot (root)
	@PACKAGES='$(PACKAGE_TOOLS)' sh deploy/deps.sh
	@MAKE='$(MAKE)' VERSION='$(version)' sh deploy/packages/check.sh

.PHONY: clean
clean: ## Remove what the targets above made here
	rm -rf bin dist vm-logs coverage.out coverage.html deploy/check/node_modules

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'This needs root, for network namespaces: sudo make $(MAKECMDGOALS)' >&2; exit 1; }
