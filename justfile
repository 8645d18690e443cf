# One line a recipe: what a person runs, CI runs (.ci/run).

# the tests, the house rules among them
test *args:
    cargo test {{args}}

# what must hold before a change is proposed, but for the peers
check: fmt lint doc deny test

fmt:
    cargo fmt --check

lint:
    cargo clippy --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps

# what the dependencies bring: twice the same, a second TLS stack, licences, sources
deny:
    cargo deny --log-level error --all-features check bans licenses sources

# the tour
demo *args:
    cargo run --release -- demo {{args}}

# signatures and tokens, checked by implementations that no one here wrote
verify:
    tests/verify/run

# what needs a feature: keys on tokens, the keyring, SPIFFE, OTLP
features:
    cargo clippy --all-targets --all-features -- -D warnings
    tests/pkcs11/run
    tests/keyring/run
    tests/spiffe/run
    tests/otlp/run

# interoperability with the official SDKs, the reference server, the conformance suite, nginx
sdk:
    tests/sdk/run

# what is under deploy/: image, compose, Kubernetes, systemd, deb
deploy *args:
    tests/deploy/run {{args}}

# what clients install: npm, the bundle, the plugin, completions and the man page
packages:
    tests/packages/run

# completions and the man page, made anew from the command line's definition
generate:
    UPDATE=1 cargo test --test it generated

# the table of docs/BENCHMARKS.md; add --quick for a smoke run
bench *args:
    cargo bench --bench bridge -- {{args}}

# the binary that users run, in target/dist
dist:
    cargo build --locked --profile dist
