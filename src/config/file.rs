//! The TOML file of profiles, and the chosen one of them as a layer.
//!
//! Read by hand from the parsed document instead of through serde: every error has the file, the
//! line and the key, knows the nearest key that exists, and quotes no value, which serde would do.
//! All profiles are checked for keys and forms; only the chosen one is expanded, by others.

use std::path::Path;

use toml::de::DeTable;

use crate::{
    credentials::headers::ApiKey,
    failure::{Failure, Stage},
};

use super::{
    exec, forms,
    layer::Layer,
    nearest::nearest,
    sent::{self, Sent},
    serve,
    value::{Item, Source},
};

/// The keys of a profile.
pub(super) const KEYS: [&str; 34] = [
    "url",
    "cert",
    "key",
    "key_passphrase",
    "pkcs12",
    "pkcs12_passphrase",
    "pkcs11_module",
    "spiffe",
    "cacert",
    "system_roots",
    "pinnedpubkey",
    "server_name",
    "server_spiffe_id",
    "tls_min",
    "headers",
    "bearer",
    "basic",
    "api_key",
    "headers_helper",
    "jwt",
    "hmac",
    "http_signature",
    "aws_sigv4",
    "http",
    "protocol",
    "proxy",
    "proxy_user",
    "connect_timeout",
    "idle_timeout",
    "max_message",
    "audit_log",
    "env_file",
    "env",
    "serve",
];

/// The profile `wanted`, or the only one, or the one named `default`.
///
/// # Errors
///
/// A file that cannot be read or is no TOML, an unknown key anywhere in it, a value that is not in
/// the form of its key, and a choice of profile that is open.
pub(super) fn read(path: &Path, wanted: Option<&str>) -> Result<Layer, Failure> {
    choose(path, wanted, read_all(path)?)
}

/// The profiles of a file.
///
/// # Errors
///
/// As [`read`], but for the choice.
pub(super) fn read_all(path: &Path) -> Result<Vec<(String, Layer)>, Failure> {
    let file = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Stage::Configuration, format!("cannot read the configuration {file}: {error}"))
            .hint("--config or COUNTERSIGN_CONFIG names the file")
    })?;
    let source = Source::File { file: path.into(), text: &text };
    let document = DeTable::parse(&text).map_err(|error| {
        // The parser's message alone: its Display quotes the line, which may hold anything.
        let line = error.span().map_or(1, |span| source.line(span.start));
        Failure::new(Stage::Configuration, format!("{file}:{line}: {}", error.message()))
            .hint("the file is TOML: text stands in quotes, a profile starts with [profile.NAME]")
    })?;
    profiles(&source, document.get_ref())
}

fn profiles(source: &Source<'_>, document: &DeTable<'_>) -> Result<Vec<(String, Layer)>, Failure> {
    let mut profiles = Vec::new();
    for item in Item::of_document(source, document) {
        if item.name != "profile" {
            let refused = item.place.refuse("expected [profile.NAME], found a key outside of one");
            return Err(match nearest(item.name, &KEYS) {
                Some(known) => refused.hint(format!("put {known} below [profile.default]")),
                None => refused.hint("every setting stands below [profile.NAME]"),
            });
        }
        for profile in item.items()? {
            let mut layer = Layer::default();
            for item in profile.items()? {
                set(&mut layer, &item)?;
            }
            profiles.push((profile.name.to_owned(), layer));
        }
    }
    Ok(profiles)
}

fn choose(
    path: &Path,
    wanted: Option<&str>,
    mut profiles: Vec<(String, Layer)>,
) -> Result<Layer, Failure> {
    let named = |wanted: &str| profiles.iter().position(|(name, _)| name == wanted);
    let chosen = match wanted {
        Some(name) => named(name),
        None if profiles.len() == 1 => Some(0),
        None => named("default"),
    };
    if let Some(index) = chosen {
        let (name, layer) = profiles.swap_remove(index);
        return Ok(Layer { name: Some(name), ..layer });
    }
    let names: Vec<&str> = profiles.iter().map(|(name, _)| name.as_str()).collect();
    let (what, hint) = match (wanted, names.join(", ")) {
        (_, names) if names.is_empty() => (
            "has no profile".to_owned(),
            "start one with [profile.default], and url = \"https://...\" below it".to_owned(),
        ),
        (Some(name), names) => (format!("has no profile {name}"), format!("it has: {names}")),
        (None, names) => (
            "has several profiles, and none is named default".to_owned(),
            format!("choose one with --profile NAME: {names}"),
        ),
    };
    Err(Failure::new(Stage::Configuration, format!("{} {what}", path.display())).hint(hint))
}

fn set(layer: &mut Layer, item: &Item<'_>) -> Result<(), Failure> {
    match item.name {
        "url" => layer.url = Some(item.string()?),
        "cert" => layer.cert = Some(item.string()?),
        "key" => layer.key = Some(item.string()?),
        "key_passphrase" => layer.key_passphrase = Some(item.stated(item.reference()?)),
        "pkcs12" => layer.pkcs12 = Some(item.string()?),
        "pkcs12_passphrase" => layer.pkcs12_passphrase = Some(item.stated(item.reference()?)),
        "pkcs11_module" => layer.pkcs11_module = Some(item.string()?),
        "spiffe" => layer.spiffe = Some(item.string()?),
        "cacert" => layer.cacert = item.strings()?,
        "system_roots" => layer.system_roots = Some(item.boolean()?),
        "pinnedpubkey" => layer.pinnedpubkey = Some(item.string()?),
        "server_name" => layer.server_name = Some(item.string()?),
        "server_spiffe_id" => layer.server_spiffe_id = Some(item.string()?),
        "tls_min" => layer.tls_min = Some(item.scalar()?),
        "headers" => headers(layer, item)?,
        "bearer" => layer.sent.push(item.stated(Sent::Bearer(item.reference()?))),
        "basic" => layer.sent.push(item.stated(Sent::Basic(item.login()?))),
        "api_key" => api_keys(layer, item)?,
        "headers_helper" => {
            layer.sent.push(item.stated(Sent::Helper(sent::Helper::read(item)?)));
        }
        "jwt" => layer.sent.push(item.stated(Sent::Jwt(sent::Jwt::read(item)?))),
        "hmac" => layer.sent.push(item.stated(Sent::Hmac(sent::Hmac::read(item)?))),
        "http_signature" => {
            layer.sent.push(item.stated(Sent::HttpSignature(sent::HttpSignature::read(item)?)));
        }
        "aws_sigv4" => layer.sent.push(item.stated(Sent::AwsSigv4(sent::AwsSigv4::read(item)?))),
        "http" => layer.http = Some(item.scalar()?),
        "protocol" => layer.protocol = Some(item.scalar()?),
        "proxy" => layer.proxy = Some(item.string()?),
        "proxy_user" => layer.proxy_user = Some(item.stated(item.login()?)),
        "connect_timeout" => layer.connect_timeout = Some(item.scalar()?),
        "idle_timeout" => layer.idle_timeout = Some(item.scalar()?),
        "max_message" => layer.max_message = Some(item.scalar()?),
        "audit_log" => layer.audit_log = Some(item.string()?),
        "env_file" => layer.env_file = Some(item.string()?),
        "env" => layer.env = Some(exec::read(item)?),
        "serve" => layer.serve = serve::read(item)?,
        _ => return Err(item.unknown(&KEYS)),
    }
    Ok(())
}

fn headers(layer: &mut Layer, item: &Item<'_>) -> Result<(), Failure> {
    for header in item.items()? {
        let (name, value) = (header.name.to_owned(), header.string()?.value);
        layer.sent.push(header.stated(Sent::Header { name, value }));
    }
    Ok(())
}

fn api_keys(layer: &mut Layer, item: &Item<'_>) -> Result<(), Failure> {
    if let Some(text) = item.text() {
        let (name, key) = forms::api_key(&item.place, text)?;
        layer.sent.push(item.stated(Sent::ApiKey { name, key }));
    } else if item.is_reference() {
        let (name, key) = (ApiKey::DEFAULT_NAME.to_owned(), item.reference()?);
        layer.sent.push(item.stated(Sent::ApiKey { name, key }));
    } else {
        for named in item.items()? {
            let (name, key) = (named.name.to_owned(), named.reference()?);
            layer.sent.push(named.stated(Sent::ApiKey { name, key }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::secret::Reference;

    fn read_text(text: &str, wanted: Option<&str>) -> Result<Layer, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, wanted)
    }

    fn profile(keys: &str) -> Result<Layer, Failure> {
        read_text(&format!("[profile.corp]\n{keys}"), None)
    }

    fn refusal(text: &str, wanted: Option<&str>) -> String {
        let refused = read_text(text, wanted).map(|_| ()).unwrap_err();
        assert_eq!(refused.stage(), Stage::Configuration);
        format!("{} | {}", refused.what(), refused.next_step().unwrap_or_default())
    }

    #[test]
    fn every_key_is_read() {
        for key in KEYS {
            let refused = profile(&format!("{key} = 1979-05-27")).map(|_| ()).unwrap_err();
            assert!(refused.what().contains(&format!("{key}: expected")), "{refused}");
        }
    }

    #[test]
    fn a_whole_profile() {
        let layer = profile(
            r#"
            url = "https://${TENANT}.example.com/mcp"
            cert = "c.pem"
            key_passphrase = { file = "pass" }
            cacert = ["a.pem", "b.pem"]
            system_roots = true
            tls_min = 1.3
            http = 2
            headers = { "X-Tenant" = "${TENANT}", X-Team = "a" }
            basic = { user = "alice", password = "env:PASSWORD" }
            proxy_user = "bob:env:PASSWORD"
            connect_timeout = 10
            idle_timeout = "5m"
            max_message = 1_048_576
            [profile.corp.api_key]
            X-Key = { command = ["vault", "read me"], ttl = "5m" }
            "#,
        )
        .unwrap();
        let text = |stated: &Option<super::super::place::Stated<String>>| {
            stated.as_ref().unwrap().value.clone()
        };
        assert_eq!(text(&layer.url), "https://${TENANT}.example.com/mcp");
        assert_eq!(
            layer.url.as_ref().unwrap().place.to_string().rsplit('/').next().unwrap(),
            "c.toml:3: url"
        );
        assert_eq!(text(&layer.tls_min), "1.3");
        assert_eq!(text(&layer.http), "2");
        assert_eq!(text(&layer.connect_timeout), "10");
        assert_eq!(text(&layer.max_message), "1048576");
        assert_eq!(layer.cacert.len(), 2);
        assert_eq!(layer.system_roots, Some(true));
        assert_eq!(layer.proxy_user.unwrap().value.user, "bob");
        let owned: Vec<String> = layer.sent.iter().flat_map(|sent| sent.value.headers()).collect();
        assert_eq!(owned, ["x-key", "authorization", "x-team", "x-tenant"]);
        let Sent::ApiKey { key: Reference::Command { argv, ttl }, .. } = &layer.sent[0].value
        else {
            panic!()
        };
        assert_eq!(argv, &["vault", "read me"]);
        assert_eq!(ttl.unwrap().as_secs(), 300);
    }

    #[test]
    fn an_api_key_is_a_reference_or_a_table_of_them() {
        for (value, expected) in [
            (r#""env:A""#, "x-api-key"),
            (r#""X-Key=env:A""#, "x-key"),
            (r#"{ env = "A" }"#, "x-api-key"),
            (r#"{ X-Key = "env:A" }"#, "x-key"),
            (r#"{ X-Key = { env = "A" } }"#, "x-key"),
        ] {
            let layer = profile(&format!("api_key = {value}")).unwrap();
            assert_eq!(layer.sent[0].value.headers()[0], expected, "{value}");
        }
    }

    #[test]
    fn mistakes_are_named_by_file_line_and_key() {
        for (text, expected) in [
            ("[profile.a]\ncertt = \"c\"", "c.toml:2: certt: unknown key | did you mean cert?"),
            (
                "[profile.a]\n\nkey-passphrase = \"env:A\"",
                "c.toml:3: key-passphrase: unknown key | did you mean key_passphrase?",
            ),
            (
                "[profile.a]\ntimeout = 3",
                "c.toml:2: timeout: unknown key | the keys are: url, cert",
            ),
            (
                "[profile.a]\nbearer = { evn = \"A\" }",
                "c.toml:2: evn: unknown key | the keys are: env, file, command",
            ),
            (
                "cert = \"c\"",
                "c.toml:1: cert: expected [profile.NAME], found a key outside of one | put cert below",
            ),
            ("[corp]", "c.toml:1: corp: expected [profile.NAME]"),
            ("[profile.a]\ncert = 3", "c.toml:2: cert: expected a string, found an integer"),
            (
                "[profile.a]\nsystem_roots = \"canary\"",
                "c.toml:2: system_roots: expected true or false, found a string",
            ),
            ("[profile.a]\nbearer = { ttl = 5 }", "c.toml:2: bearer: expected a reference"),
            (
                "[profile.a]\nbearer = { env = \"A\", ttl = 5 }",
                "c.toml:2: bearer: ttl belongs to a command",
            ),
            (
                "[profile.a]\nbearer = { env = \"A\", file = \"f\" }",
                "c.toml:2: bearer: expected one of env, file, command and keyring",
            ),
            (
                "[profile.a]\nbearer = { keyring = \"canary\" }",
                "c.toml:2: keyring: expected keyring:",
            ),
            ("[profile.a]\nenv = { \"A=B\" = \"env:A\" }", "c.toml:2: A=B: expected the name of a"),
            ("[profile.a]\nenv = { A = 3 }", "c.toml:2: A: expected a table, found an integer"),
            (
                "[profile.a]\nenv = { A = { value = \"a\", env = \"A\" } }",
                "c.toml:2: A: expected value or a reference, found both",
            ),
            ("[profile.a]\nbearer = { command = [] }", "c.toml:2: bearer: the command is empty"),
            ("[profile.a]\nbasic = { user = \"a\" }", "c.toml:2: basic: expected { user"),
            ("profile = 3", "c.toml:1: profile: expected a table, found an integer"),
            ("[profile]", "c.toml has no profile | start one with"),
            ("", "c.toml has no profile"),
            (
                "[profile.a]\n[profile.b]",
                "c.toml has several profiles, and none is named default | choose one with --profile NAME: a, b",
            ),
            ("[profile.a]\nurl = https", "c.toml:2: "),
            ("[profile.a]\nurl = \"a\"\nurl = \"b\"", "c.toml:3: "),
        ] {
            let refusal = refusal(text, None);
            assert!(refusal.contains(expected), "{refusal}\nexpected {expected}");
        }
        assert!(refusal("[profile.a]", Some("b")).contains("c.toml has no profile b | it has: a"));
    }

    #[test]
    fn literals_are_not_quoted() {
        for text in [
            "bearer = \"canary\"",
            "bearer = canary",
            "bearer = \"canary",
            "bearer = [\"canary\"]",
            "api_key = \"canary==\"",
            "api_key = { X-Key = \"canary\" }",
            "basic = \"alice:canary\"",
            "basic = { user = \"alice\", password = \"canary\" }",
            "headers = \"canary\"",
            "key_passphrase = \"canary\"",
            "proxy_user = \"canary\"",
            "bearer = { keyring = \"canary\" }",
            "env = { A = \"canary\" }",
            "env = { A = { valeu = \"canary\" } }",
        ] {
            let refused = format!("{:?}", profile(text).map(|_| ()).unwrap_err());
            assert!(refused.contains("c.toml:2") && !refused.contains("canary"), "{refused}");
        }
    }

    #[test]
    fn the_profile_is_the_wanted_the_only_or_the_default() {
        let two = "[profile.a]\nurl = \"a\"\n[profile.default]\nurl = \"d\"";
        for (text, wanted, expected) in
            [("[profile.a]\nurl = \"a\"", None, "a"), (two, None, "d"), (two, Some("a"), "a")]
        {
            let layer = read_text(text, wanted).unwrap();
            assert_eq!(layer.url.unwrap().value, expected);
        }
    }
}
