//! What can be said of a token, and how mistakes are told.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use toml::de::DeTable;

use super::{
    super::super::{pairs, value::Source},
    *,
};
use crate::credentials::jwt::Claim;

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "USER" => "ada",
        "BRACES" => "{method}",
        "COPIED" => "canary\n",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A folder with a key on the curve P-256, its certificate and a secret in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    for (name, text) in [
        ("ec.pem", pair.signing_key.serialize_pem()),
        ("cert.pem", pair.cert.pem()),
        ("other.pem", other.cert.pem()),
        ("secret", "canary, a secret of thirty-two bytes".to_owned()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn of_profile(folder: &Path, keys: &str) -> Result<Settings, Failure> {
    let text = format!("[jwt]\n{keys}");
    let source = Source::File { file: folder.join("c.toml").as_path().into(), text: &text };
    let document = DeTable::parse(&text).unwrap();
    let items = Item::of_document(&source, document.get_ref());
    settled(&Said::read(&items[0])?, &items[0])
}

fn of_flag(text: &str) -> Result<Settings, Failure> {
    let source = Source::Flag("--jwt");
    let value = pairs::read(text).unwrap();
    let item = Item::of_flag(&source, &value);
    settled(&Said::read(&item)?, &item)
}

fn settled(said: &Said, item: &Item<'_>) -> Result<Settings, Failure> {
    let settings = said.settle(&item.place, &Scope::new(&environment))?;
    assert_eq!(said.headers(), [settings.carrier.name().as_str()]);
    Ok(settings)
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.claims.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_few_words_are_enough() {
    let folder = folder();
    let settings = of_profile(folder.path(), "alg = \"ES256\"\nkey = \"file:ec.pem\"").unwrap();
    assert_eq!(settings.algorithm.to_string(), "ES256");
    assert_eq!((settings.lifetime.as_secs(), settings.per_request), (300, false));
    assert_eq!((settings.typ.as_str(), settings.carrier.name().as_str()), ("JWT", "authorization"));
    assert!(settings.claims.is_empty() && settings.kid.is_none());
}

#[test]
fn a_flag_says_the_same_as_a_table() {
    let folder = folder();
    let key = format!("file:{}", folder.path().join("ec.pem").display());
    let settings = of_flag(&format!(
        "alg=ES256,key={key},iss=me,aud=gateway,kid=1,lifetime=60,per_request=true,\
         claims.role=admin,claims.tenant.id=acme,header=X-Token,prefix=JWT"
    ))
    .unwrap();
    assert_eq!(names(&settings), ["aud", "role", "tenant", "iss"]);
    assert_eq!(settings.lifetime.as_secs(), 60);
    assert!(settings.per_request);
    assert_eq!(settings.kid.as_deref(), Some("1"));
    assert_eq!(settings.carrier.name(), "x-token");
}

#[test]
fn claims_are_of_any_form_that_toml_has() {
    let folder = folder();
    let keys = "alg = \"ES256\"\nkey = \"file:ec.pem\"\nkid = 7\naud = [\"a\", \"b\"]\n\
                [jwt.claims]\nn = 0x10\nf = 1.5\non = true\nempty = \"\"\nsince = 2026-11-23\n\
                \"https://corp/roles\" = [\"a\", 1]\n[jwt.claims.tenant]\nid = \"${USER}\"";
    let settings = of_profile(folder.path(), keys).unwrap();
    let claim = |name: &str| &settings.claims.iter().find(|(it, _)| it == name).unwrap().1;
    assert!(matches!(claim("n"), Claim::Number(number) if number.as_i64() == Some(16)));
    assert!(matches!(claim("f"), Claim::Number(number) if number.as_f64() == Some(1.5)));
    assert!(matches!(claim("on"), Claim::Truth(true)));
    assert!(matches!(claim("since"), Claim::Text(_)));
    assert!(matches!(claim("https://corp/roles"), Claim::List(list) if list.len() == 2));
    assert!(matches!(claim("tenant"), Claim::Table(table) if table.len() == 1));
    assert!(matches!(claim("aud"), Claim::List(list) if list.len() == 2));
    assert_eq!(settings.kid.as_deref(), Some("7"));
}

#[test]
fn the_certificate_is_found_beside_the_profile() {
    let folder = folder();
    let keys = "alg = \"ES256\"\nkey = \"file:ec.pem\"\nx5c = true\ncertificate = ";
    let settings = of_profile(folder.path(), &format!("{keys}\"cert.pem\"")).unwrap();
    let shown = settings.certificate.unwrap();
    assert_eq!(shown.path, folder.path().join("cert.pem"));
    assert!(shown.x5c && !shown.x5t_s256);
    let refused = of_profile(folder.path(), &format!("{keys}\"other.pem\"")).unwrap_err();
    assert!(refused.what().contains("does not belong to the key"), "{refused}");
}

#[test]
fn mistakes_are_found_at_start_where_they_stand() {
    let folder = folder();
    let es256 = "alg = \"ES256\"\nkey = \"file:ec.pem\"\n";
    let hs256 = "alg = \"HS256\"\nkey = \"file:secret\"\n";
    for (keys, place, words) in [
        ("key = \"file:ec.pem\"", "1: jwt", "expected alg"),
        ("alg = \"ES256\"", "1: jwt", "expected key"),
        ("alg = \"none\"\nkey = \"file:ec.pem\"", "2: alg", "an algorithm that signs"),
        ("alg = \"RS256\"\nkey = \"file:ec.pem\"", "3: key", "RS256 needs an RSA key"),
        ("alg = \"HS256\"\nkey = \"canary\"", "3: key", "reference"),
        (&format!("{es256}audience = \"a\""), "4: audience", "unknown key"),
        (&format!("{es256}aud = []"), "4: aud", "empty list"),
        (&format!("{es256}lifetime = 5"), "4: lifetime", "expected 10s or more"),
        (&format!("{es256}lifetime = \"25h\""), "4: lifetime", "expected 24h or less"),
        (&format!("{es256}lifetime = \"soon\""), "4: lifetime", "expected a time"),
        (&format!("{es256}key_encoding = \"pem\""), "4: key_encoding", "one of raw, hex, base64"),
        (&format!("{es256}header = \"Host\""), "4: header", "can't be set"),
        (&format!("{es256}x5c = true"), "4: x5c", "expected a certificate"),
        (&format!("{es256}certificate = \"cert.pem\""), "4: certificate", "is not shown"),
        (
            &format!("{hs256}certificate = \"cert.pem\"\nx5c = true"),
            "4: certificate",
            "HS256 signs with a shared secret",
        ),
        (&format!("{es256}claims.exp = 5"), "4: exp", "set anew in each token"),
        (&format!("{es256}claims.jti = \"a\""), "4: jti", "set anew in each token"),
        (&format!("{es256}claims.iss = \"a\""), "4: iss", "a key of its own"),
        (&format!("{es256}claims.n = inf"), "4: n", "a number that JSON has"),
        (&format!("{es256}claims.a = \"${{COPIED}}\""), "4: a", "COPIED ends in a line feed"),
        (&format!("{es256}claims.a = \"${{NONE}}\""), "4: a", "NONE is not set"),
        (&format!("{es256}sub = \"{{method}}\""), "4: sub", "a part of one request"),
        (&format!("{es256}claims.a = [\"{{\"]"), "4: a", "a brace alone"),
        (
            &format!("{es256}per_request = true\nclaims.a = \"{{body}}\""),
            "5: a",
            "the field {body} is not known",
        ),
    ] {
        let refused = of_profile(folder.path(), keys).unwrap_err();
        let (what, shown) = (refused.what(), format!("{refused:?}"));
        assert!(what.contains(&format!("c.toml:{place}: ")), "{keys}: {what}");
        assert!(what.contains(words), "{keys}: {what}");
        assert!(!shown.contains("canary"), "{shown}");
    }
    let refused = of_flag("alg=ES256").unwrap_err();
    assert!(refused.next_step().unwrap().contains("--jwt alg=ES256"), "{refused:?}");
}

#[test]
fn what_a_variable_brings_is_no_field() {
    let scope = Scope::new(&environment);
    for (text, expected) in [
        ("", ""),
        ("plain {method} {{", "plain {method} {{"),
        ("${BRACES}", "{{method}}"),
        ("{url} ${USER}${BRACES}${NONE:-} {path}", "{url} ada{{method}} {path}"),
        ("a ${NONE:- } b", "a   b"),
    ] {
        let expanded = claims::expand(&Place::flag("--jwt"), text, &scope).unwrap();
        assert_eq!(expanded, expected, "{text}");
    }
}
