//! The rules of configuration as tables: a command line, a file and an environment on one side,
//! the settings or the complaint on the other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod identity;

use std::{collections::HashMap, ffi::OsString, fs, path::Path};

use super::*;
use crate::{
    credentials::authorization,
    exec::Value,
    secret::Reference,
    tls::{Http, Minimum},
};

/// A folder with secrets and perhaps a file of profiles, and an environment.
struct Given {
    folder: tempfile::TempDir,
    environment: HashMap<String, String>,
}

impl Given {
    fn nothing() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "canary").unwrap();
        Self { folder, environment: HashMap::new() }
    }

    fn url() -> Self {
        Self::nothing().variable("API_URL", "https://mcp.example.com/mcp")
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The keys as the only profile of the file that `COUNTERSIGN_CONFIG` names.
    fn profile(self, keys: &str) -> Self {
        let file = self.folder.path().join("c.toml");
        fs::write(&file, format!("[profile.corp]\n{keys}")).unwrap();
        self.variable("COUNTERSIGN_CONFIG", file.to_str().unwrap())
    }

    /// `REF` in a word is a reference to the secret.
    fn load(&self, flags: &[&str]) -> Result<Config, Failure> {
        let token = format!("file:{}", self.folder.path().join("token").display());
        let words = flags.iter().map(|word| OsString::from(word.replace("REF", &token)));
        let line = std::iter::once(OsString::from("mtls-wrapper")).chain(words);
        let cli = Cli::read(line).unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        load_in(&cli.bridge, &|name| self.environment.get(name).cloned())
    }

    fn config(&self, flags: &[&str]) -> Config {
        self.load(flags).unwrap_or_else(|failure| panic!("{flags:?}: {failure:?}"))
    }

    #[track_caller]
    fn refuses(&self, flags: &[&str], what: &str, hint: &str) {
        let failure = self.load(flags).map(|_| ()).expect_err(&format!("{flags:?}"));
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(failure.what().contains(what), "{failure:?}\nexpected {what}");
        let said = failure.next_step().unwrap_or_default();
        assert!(said.contains(hint), "{failure:?}\nexpected {hint}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}

fn headers(config: &Config) -> Vec<String> {
    let text = |header: &crate::credentials::headers::Header| {
        format!("{}: {}", header.name(), header.value().to_str().unwrap())
    };
    config.credentials.headers.iter().map(text).collect()
}

#[test]
fn the_documented_wrapper_works_as_it_stands() {
    let given = Given::nothing().variable("API_URL", "https://secure.example.com");
    let config = given.config(&["--cert", "/etc/c.pem", "--key", "/etc/c.key"]);
    let identity = identity::pair(&config);
    assert_eq!(identity::file(&identity.cert), Path::new("/etc/c.pem"));
    assert_eq!(identity::file(&identity.key), Path::new("/etc/c.key"));
    assert!(config.bridge.uri.to_string().starts_with("https://secure.example.com"));

    let unfilled = ["--cert", "${CLIENT_CERT}", "--key", "${CLIENT_KEY}"];
    given.refuses(&unfilled, "--cert: the variable CLIENT_CERT is not set", "\"env\"");
    let given = given.variable("CLIENT_CERT", "c.pem").variable("CLIENT_KEY", "c.key");
    let identity = identity::pair(&given.config(&unfilled));
    assert_eq!(identity::file(&identity.cert), Path::new("c.pem"));
}

#[test]
fn defaults() {
    let config = Given::url().config(&[]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.bridge.idle_timeout, Duration::from_secs(300));
    assert_eq!(config.bridge.max_message, 64 << 20);
    assert!(config.tls.identity.is_none() && config.tls.pins.is_empty());
    assert!(config.tls.roots.cacert.is_empty() && !config.tls.roots.system);
    assert!(matches!(config.tls.minimum, Minimum::Tls12));
    assert!(matches!(config.tls.http, Http::Auto));
    assert!(config.credentials.authorization.is_none());
}

#[test]
fn the_url_is_the_argument_then_the_profile_then_the_variable() {
    let url = |config: &Config| config.bridge.uri.to_string();
    let given = Given::nothing().variable("API_URL", "https://variable.example/mcp?a=b");
    assert_eq!(url(&given.config(&[])), "https://variable.example/mcp?a=b");
    let given = given.profile("url = 'https://profile.example/mcp'");
    assert_eq!(url(&given.config(&[])), "https://profile.example/mcp");
    let argument = "https://${TENANT}.example/mcp";
    let given = given.variable("TENANT", "acme");
    assert_eq!(url(&given.config(&[argument])), "https://acme.example/mcp");
}

#[test]
fn a_url_that_cannot_be_used_says_what_to_do() {
    let nothing = Given::nothing();
    nothing.refuses(&[], "expected the URL of an MCP server, found none", "API_URL");
    nothing.refuses(&[], "found none", "countersign https://");
    nothing.refuses(&[], "found none", "--config FILE");
    let empty = Given::nothing().variable("API_URL", "");
    empty.refuses(&[], "API_URL: the value is empty", "");
    let blank = Given::nothing().variable("API_URL", "https://a.example\n");
    blank.refuses(&[], "API_URL: the value ends in a line feed", "remove");
    for (url, what, hint) in [
        ("canary", "the URL argument: expected a URL with https://", "quote"),
        ("https://a:canary@b.example", "found one with", "--basic"),
        ("https:///a:canary@b.example", "found one with", "--basic"),
        ("https://canary@b.example/", "found one with", "--basic"),
        ("https://a:${T}@b.example", "found one with", "--basic"),
        ("http://b.example/", "the URL argument: ", ""),
        ("https://${NONE}.example/", "the URL argument: the variable NONE is not set", "NONE"),
    ] {
        Given::nothing().variable("T", "canary").refuses(&[url], what, hint);
    }
    let at_in_path = Given::nothing().load(&["https://a.example/@team?x=a@b"]);
    assert!(at_in_path.is_ok());
}

#[test]
fn flags_come_before_the_profile() {
    let given = Given::url().profile(
        "connect_timeout = 3\nidle_timeout = '1m'\nmax_message = '1MiB'\ntls_min = 1.3\nhttp = 2\n\
         protocol = 'legacy'\n\
         server_name = 'a.example'\nproxy = 'http://p.example:3128'",
    );
    let config = given.config(&[]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.bridge.idle_timeout, Duration::from_secs(60));
    assert_eq!(config.bridge.max_message, 1 << 20);
    assert!(matches!(config.tls.minimum, Minimum::Tls13));
    assert!(matches!(config.tls.http, Http::Two));
    assert_eq!(config.bridge.protocol, Some(Era::Legacy));
    assert_eq!(config.tls.server_name.as_deref(), Some("a.example"));
    assert_eq!(config.upstream.proxy.explicit.as_deref(), Some("http://p.example:3128"));

    let config = given.config(&[
        "--connect-timeout=500ms",
        "--idle-timeout=10",
        "--max-message=8192",
        "--tls-min=1.2",
        "--http=1.1",
        "--protocol=auto",
        "--server-name=b.example",
        "--proxy=http://q.example:3128",
    ]);
    assert_eq!(config.upstream.connect_timeout, Duration::from_millis(500));
    assert_eq!(config.bridge.idle_timeout, Duration::from_secs(10));
    assert_eq!(config.bridge.max_message, 8192);
    assert!(matches!(config.tls.minimum, Minimum::Tls12));
    assert!(matches!(config.tls.http, Http::One));
    assert_eq!(config.bridge.protocol, None);
    assert_eq!(config.tls.server_name.as_deref(), Some("b.example"));
    assert_eq!(config.upstream.proxy.explicit.as_deref(), Some("http://q.example:3128"));
}

#[test]
fn numbers_out_of_form_are_named() {
    let given = Given::url();
    given.refuses(&["--connect-timeout", "soon"], "--connect-timeout: expected a time", "");
    given.refuses(&["--idle-timeout", "0"], "--idle-timeout: expected a time, found zero", "");
    given.refuses(&["--max-message", "64"], "--max-message: expected at least 4KiB", "");
    Given::url().profile("tls_min = 1.1").refuses(&[], "c.toml:2: tls_min: expected 1.2 or", "");
    Given::url().profile("protocol = 'old'").refuses(
        &[],
        "c.toml:2: protocol: expected auto, modern or legacy",
        "",
    );
    Given::url().profile("http = 3").refuses(&[], "c.toml:2: http: expected auto, 1.1 or 2", "");
}

#[test]
fn roots_are_of_one_source() {
    let given = Given::url()
        .variable("SSL_CERT_FILE", "/etc/roots.pem")
        .variable("SSL_CERT_DIR", "")
        .profile("cacert = ['a.pem', '/b.pem']\nsystem_roots = true");
    let roots = given.config(&[]).tls.roots;
    assert_eq!(roots.cacert, [given.folder.path().join("a.pem"), "/b.pem".into()]);
    assert!(roots.system);
    assert_eq!(roots.cert_file.as_deref(), Some(Path::new("/etc/roots.pem")));
    assert_eq!(roots.cert_dir, None);

    let roots = given.config(&["--cacert", "x.pem", "--cacert", "y.pem"]).tls.roots;
    assert_eq!(roots.cacert, [Path::new("x.pem"), Path::new("y.pem")]);
    assert!(!roots.system, "--cacert trusts exactly what it names");
    assert!(given.config(&["--cacert", "x.pem", "--system-roots"]).tls.roots.system);
}

#[test]
fn pins_are_read_as_curl_has_them() {
    let pin = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let two = format!("{pin};{pin}");
    assert_eq!(Given::url().config(&["--pinnedpubkey", &two]).tls.pins.len(), 2);
    Given::url().refuses(&["--pinnedpubkey", "md5//x"], "--pinnedpubkey: expected", "openssl");
}

#[test]
fn headers_are_filled_in_and_checked() {
    let given = Given::url().variable("TENANT_ID", "acme").variable("TOKEN", "canary");
    let config = given.config(&["--header", "X-Tenant: ${TENANT_ID}", "--header", "X-A:b"]);
    assert_eq!(headers(&config), ["x-tenant: acme", "x-a: b"]);
    let config = given.config(&["--header", "Authorization: Bearer ${TOKEN}"]);
    assert!(config.credentials.headers[0].value().is_sensitive());

    for (header, what, hint) in [
        ("Authorization: Bearer canary", "--header authorization: expected a ref", "--bearer env:"),
        ("Cookie: a=canary", "--header cookie: expected a reference", "${NAME}"),
        ("X-API-Key: canary", "--header x-api-key: expected a reference", "--api-key"),
        ("Proxy-Authorization: Basic canary", "found a literal secret", "--proxy-user"),
        ("canary", "--header: expected 'Name: value'", "quote"),
        ("X-Tenant: ${TENANT}", "--header x-tenant: the variable TENANT is not set", "TENANT"),
        ("X-Tenant: acme ", "--header x-tenant: the value ends in a blank", "remove"),
        ("X-Tenant:", "--header x-tenant: the value is empty", ""),
    ] {
        given.refuses(&["--header", header], what, hint);
    }
    let literal = Given::url().profile("headers = { Authorization = 'Bearer canary' }");
    literal.refuses(&[], "c.toml:2: Authorization: expected a reference", "bearer =");
}

#[test]
fn a_header_has_one_owner() {
    let given = Given::url().variable("T", "t");
    for flags in [
        &["--bearer", "REF", "--basic", "alice:REF"][..],
        &["--bearer", "REF", "--header", "Authorization: Bearer ${T}"],
        &["--basic", "alice:REF", "--header", "authorization: ${T}"],
        &["--bearer", "REF", "--api-key", "Authorization=REF"],
        &["--header", "X-A: b", "--header", "x-a: c"],
        &["--api-key", "REF", "--header", "X-API-Key: ${T}"],
        &["--api-key", "REF", "--api-key", "REF"],
    ] {
        given.refuses(flags, "already", "one owner");
    }
    given.refuses(
        &["--bearer", "REF", "--basic", "alice:REF"],
        "--basic: --bearer sets the header authorization already",
        "",
    );
    let both = Given::url().profile("bearer = 'file:token'\nbasic = 'alice:file:token'");
    both.refuses(&[], "sets the header authorization already", "one owner");
}

#[test]
fn a_flag_replaces_what_the_profile_says_of_the_same_header() {
    let given = Given::url().variable("T", "t").profile(
        "bearer = 'file:token'\napi_key = { X-Key = 'file:token' }\n\
         headers = { X-Tenant = 'profile', X-Team = 'profile' }",
    );
    let config = given.config(&["--basic", "alice:REF", "--header", "x-tenant: flag"]);
    assert_eq!(headers(&config), ["x-team: profile", "x-tenant: flag"]);
    assert_eq!(config.credentials.api_keys.len(), 1);
    let Some(authorization::Settings::Basic { user, .. }) = config.credentials.authorization else {
        panic!("the profile's bearer was kept");
    };
    assert_eq!(user, "alice");

    let config = given.config(&["--header", "Authorization: Token ${T}"]);
    assert!(config.credentials.authorization.is_none());
}

#[test]
fn no_flag_takes_a_literal_secret() {
    let given = Given::url();
    for flags in [
        ["--bearer", "canary"],
        ["--bearer", "${CANARY:-canary}"],
        ["--basic", "alice:canary"],
        ["--basic", "canary"],
        ["--api-key", "canary"],
        ["--api-key", "canary=="],
        ["--api-key", "X-Key=canary"],
        ["--key-passphrase", "canary"],
        ["--proxy-user", "alice:canary"],
        ["--proxy", "http://alice:canary@proxy.example:3128"],
    ] {
        given.refuses(&flags, flags[0], "");
    }
    let colon = given.variable("USER", "a:b");
    colon.refuses(&["--basic", "${USER}:REF"], "--basic: expected a user without a colon", "");
    colon.refuses(&["--proxy-user", "${USER}:REF"], "--proxy-user: expected a user without", "");
}

#[test]
fn proxies_come_from_the_environment_as_curl_reads_it() {
    let given = Given::url()
        .variable("https_proxy", "http://lower.example")
        .variable("HTTPS_PROXY", "http://upper.example")
        .variable("all_proxy", "")
        .variable("ALL_PROXY", "http://upper.example")
        .variable("HTTP_PROXY", "http://attacker.example")
        .variable("NO_PROXY", "localhost");
    let proxy = given.config(&["--proxy-user", "alice:REF"]).upstream.proxy;
    assert_eq!(proxy.explicit, None);
    assert_eq!(proxy.https_proxy.as_deref(), Some("http://lower.example"));
    assert_eq!(proxy.all_proxy, None, "an empty variable says none");
    assert_eq!(proxy.no_proxy.as_deref(), Some("localhost"));
    assert_eq!(proxy.credentials.unwrap().0, "alice");
}

#[test]
fn profiles_are_chosen_by_flag_and_file() {
    let given = Given::nothing().profile("url = 'https://corp.example/'\n[profile.b]\n");
    given.refuses(&[], "several profiles", "--profile NAME: b, corp");
    given.refuses(&["--profile", "c"], "has no profile c", "b, corp");
    assert!(given.load(&["--profile", "corp"]).is_ok());
    let bare = Given::url();
    bare.refuses(&["--profile", "corp"], "--profile names a profile", "COUNTERSIGN_CONFIG");
    bare.refuses(&["--config", "/none/c.toml"], "cannot read the configuration /none/c.toml", "");
    assert!(Given::url().variable("COUNTERSIGN_CONFIG", "").load(&[]).is_ok());
}

#[test]
fn the_log_is_known_without_the_rest() {
    for (flags, level, json) in [
        (&[][..], log::Level::Quiet, false),
        (&["-v"], log::Level::Verbose, false),
        (&["-vv"], log::Level::Debug, false),
        (&["--debug"], log::Level::Debug, false),
        (&["--debug", "-v"], log::Level::Debug, false),
        (&["-vvv", "--log-format", "json"], log::Level::Trace, true),
    ] {
        let words = std::iter::once(&"countersign").chain(flags);
        let said = log(&Cli::read(words.map(OsString::from)).unwrap());
        assert_eq!(std::mem::discriminant(&said.level), std::mem::discriminant(&level));
        assert_eq!(said.json, json);
    }
}

/// docs/REFERENCE.md is written by hand; this keeps it complete and free of what is not there.
#[test]
fn the_reference_names_every_flag_and_key_and_no_other() {
    use clap::CommandFactory as _;

    let reference = include_str!("../../docs/REFERENCE.md");
    let command = Cli::command();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    let flags: Vec<String> = commands
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .chain(["--help", "--version"].map(str::to_owned))
        .collect();
    for flag in &flags {
        assert!(reference.contains(&format!("`{flag}")), "{flag} is missing");
    }
    for key in file::KEYS.into_iter().chain(serve::KEYS) {
        assert!(reference.contains(&format!("| `{key}` |")), "the key {key} is missing");
    }
    let named =
        reference.split(|c: char| !(c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()));
    for word in named.filter(|word| word.starts_with("--") && !word.trim_matches('-').is_empty()) {
        // The one that is there to say that it is not.
        assert!(word == "--insecure" || flags.iter().any(|flag| flag == word), "{word}");
    }
}

#[test]
fn a_spiffe_agent_gives_identity_and_roots_unless_roots_are_named() {
    let socket = "unix:///run/agent.sock";
    let config = Given::nothing().config(&["https://a.example", "--spiffe", socket]);
    assert_eq!(config.tls.spiffe.as_ref().unwrap().endpoint, socket);
    assert_eq!(identity::file(&identity::pair(&config).cert), Path::new("workload-api:svid"));
    assert_eq!(config.tls.roots.cacert, [Path::new("workload-api:bundle")]);

    let given = Given::nothing().variable("SPIFFE_ENDPOINT_SOCKET", "unix:/tmp/agent.sock");
    let id = "spiffe://prod.example/gateway";
    let line = ["https://a.example", "--spiffe", "agent", "--cacert", "c.pem"];
    let config = given.config(&[&line[..], &["--server-spiffe-id", id]].concat());
    assert_eq!(config.tls.spiffe.unwrap().endpoint, "unix:/tmp/agent.sock");
    assert_eq!(config.tls.roots.cacert, [Path::new("c.pem")]);
    assert_eq!(config.tls.server_id.unwrap().to_string(), id);

    for (flags, what, hint) in [
        (&["--spiffe", "agent"][..], "SPIFFE_ENDPOINT_SOCKET is not set", "unix:///run"),
        (&["--spiffe", "tcp://10.0.0.1:80"], "expected the agent's socket", "local socket"),
        (&["--spiffe", socket, "--cert", "c.pem"], "found a certificate as well", "--cert"),
        (&["--server-spiffe-id", "a.example"], "expected spiffe://", "openssl x509"),
    ] {
        Given::nothing().refuses(&[&["https://a.example"], flags].concat(), what, hint);
    }
}

#[test]
fn a_file_of_variables_is_named_by_the_flag_or_the_profile() {
    let given = Given::nothing().profile("url = 'https://${TENANT}.example'\nenv_file = 'a.env'");
    let folder = given.folder.path().to_owned();
    given.refuses(&[], "c.toml:3: env_file: the file ", "check the path");
    fs::write(folder.join("a.env"), "TENANT=profile").unwrap();
    let host = |config: &Config| config.bridge.uri.host().unwrap().to_owned();
    assert_eq!(host(&given.config(&[])), "profile.example");
    let flag = folder.join("b.env");
    fs::write(&flag, "TENANT=flag").unwrap();
    let flags = ["--env-file", flag.to_str().unwrap()];
    assert_eq!(host(&given.config(&flags)), "flag.example");
    let given = given.variable("TENANT", "environment");
    assert_eq!(host(&given.config(&flags)), "environment.example");
    fs::write(&flag, "TENANT=a\ncanary").unwrap();
    given.refuses(&flags, "b.env:2: expected NAME=VALUE", "a comment starts with #");
}

#[test]
fn a_command_gets_the_variables_of_its_profile() {
    let settle = |given: &Given| {
        let line = ["countersign", "exec", "--", "prog", "-v"].map(OsString::from);
        let Some(cli::Command::Exec(said)) = Cli::read(line).unwrap().command else { panic!() };
        load_exec_in(&said, &|name| given.environment.get(name).cloned())
    };
    let given = Given::nothing().variable("TENANT", "acme").profile(
        "[profile.corp.env]\nA = { file = 'token' }\nB = { value = '${TENANT} x' }\nPATH = 'env:PATH'",
    );
    let settings = settle(&given).unwrap();
    assert_eq!(settings.command, ["prog", "-v"]);
    assert_eq!(settings.withheld, ["PATH"]);
    let names: Vec<&str> = settings.variables.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["A", "B", "PATH"]);
    let Value::Text(text) = &settings.variables[1].value else { panic!() };
    assert_eq!(text, "acme x");
    assert!(settings.variables[0].place.ends_with("c.toml:3: A"));

    for (given, what, hint) in [
        (Given::nothing(), "found no file of profiles", "COUNTERSIGN_CONFIG"),
        (Given::nothing().profile("url = 'https://a.example'"), "found none", ".env]"),
        (
            Given::nothing().profile("env = { A = 'canary' }"),
            "c.toml:2: A: expected a reference",
            "value =",
        ),
        (Given::nothing().profile("env = { A = '${B}' }"), "found a template", "write env:B"),
        (Given::nothing().profile("env = { A = 'file:none' }"), "c.toml:2: A: the file", "path"),
        (
            Given::nothing().profile("env = { A = { value = '${NONE}' } }"),
            "A: the variable NONE",
            "",
        ),
    ] {
        let failure = settle(&given).map(drop).unwrap_err();
        assert!(failure.what().contains(what), "{failure:?}");
        assert!(failure.next_step().unwrap_or_default().contains(hint), "{failure:?}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
}
