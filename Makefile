# make help lists the targets.
#
# What it takes: Linux, GNU make, Go as go.mod says; for tests and demo also root and the packages of "make deps".

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO       ?= go
TIMEOUT  ?= 15m
FUZZTIME ?= 30s
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Where install puts things; a package build sets DESTDIR.
DESTDIR ?=
PREFIX  ?= /usr
sbin     = $(DESTDIR)$(PREFIX)/sbin
units    = $(DESTDIR)$(PREFIX)/lib/systemd/system
sysusers = $(DESTDIR)$(PREFIX)/lib/sysusers.d
docs     = $(DESTDIR)$(PREFIX)/share/doc/natd
bash     = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zsh      = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fish     = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
etc      = $(DESTDIR)/etc/natd
# natd reads its configuration as a member of its group. A package build knows no such group: there everybody may read.
access   = $(if $(DESTDIR),-m 0644,-m 0640 $$(getent group natd >/dev/null && echo -g natd))

# Debian's names for what tests and demo run: the race detector needs a C compiler, the rest are the programs of the lab.
PACKAGES := bind9-dnsutils conntrack curl dnsmasq-base gcc iperf3 iproute2 jq libc6-dev netbase netcat-openbsd nftables \
	nginx-light procps systemd tcpdump

# The same for deploy-check; node may come from elsewhere.
DEPLOY_PACKAGES := mmdebstrap shellcheck $(if $(shell command -v npm),,nodejs npm)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/natd and bin/natctl, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/natd ./cmd/natctl

.PHONY: deps
deps: ## Install the Debian packages that tests and demo need (root)
	@PACKAGES='$(PACKAGES)' sh deploy/deps.sh

.PHONY: demo
demo: root deps build ## Show a relay between three VPCs at work, with real nginx and curl (root)
	$(GO) run ./internal/lab/demo --natd bin/natd --natctl bin/natctl

.PHONY: test
test: deps build ## Run all tests with the race detector (root; what needs root is skipped without)
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout=$(TIMEOUT) ./...

.PHONY: test-short
test-short: ## Run the quick tests, without root, packages or a C compiler
	$(GO) test -short -count=1 -timeout=$(TIMEOUT) ./...

.PHONY: lint
lint: ## Check formatting (gofumpt), style, the import law and go.mod
	$(GOLANGCI) run ./...
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
install: build ## Install programs, service, completion and, if there is none, a configuration (DESTDIR, PREFIX)
	install -d '$(sbin)' '$(units)' '$(sysusers)' '$(docs)' '$(bash)' '$(zsh)' '$(fish)' '$(etc)'
	install -m 0755 bin/natd bin/natctl '$(sbin)'
	install -m 0644 systemd/natd.service '$(units)'
	sed -i 's|/usr/|$(PREFIX)/|g' '$(units)/natd.service'
	install -m 0644 systemd/natd.sysusers '$(sysusers)/natd.conf'
	install -m 0644 README.md CHANGELOG.md LICENSE config.example.toml '$(docs)'
	bin/natctl completion bash >'$(bash)/natctl'
	bin/natctl completion zsh >'$(zsh)/_natctl'
	bin/natctl completion fish >'$(fish)/natctl.fish'
	chmod 0644 '$(bash)/natctl' '$(zsh)/_natctl' '$(fish)/natctl.fish'
ifeq ($(DESTDIR),)
	if command -v systemd-sysusers >/dev/null; then systemd-sysusers '$(sysusers)/natd.conf'; fi
endif
	[ -e '$(etc)/natd.toml' ] || install $(access) config.example.toml '$(etc)/natd.toml'
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	@echo 'Edit $(etc)/natd.toml, see that "natctl check" likes it, then: systemctl enable --now natd'
endif

.PHONY: uninstall
uninstall: ## Remove what install installed; configuration, state and the rules in the kernel stay
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ] && [ -e '$(units)/natd.service' ]; then systemctl disable --now natd.service; fi
endif
	rm -f '$(sbin)/natd' '$(sbin)/natctl' '$(units)/natd.service' '$(sysusers)/natd.conf'
	rm -f '$(bash)/natctl' '$(zsh)/_natctl' '$(fish)/natctl.fish'
	rm -rf '$(docs)'
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
endif
	@echo 'Left alone: /etc/natd, /var/lib/natd, /var/log/natd, the user natd, and the rules in the kernel'
	@echo '(which "natctl flush" removes: run it before "make uninstall", or bin/natctl flush now).'

.PHONY: clean
clean: ## Remove what the targets above made here
	rm -rf bin coverage.out coverage.html deploy/check/node_modules

.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'This needs root, for network namespaces: sudo make $(MAKECMDGOALS)' >&2; exit 1; }
