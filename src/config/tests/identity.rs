//! The client's identity: which source it is of, and which kind.

use crate::tls::{
    identity::{Pair, Settings, Source},
    pkcs11::Object,
};

use super::*;

pub(super) fn pair(config: &Config) -> Pair {
    match config.tls.identity.clone().unwrap() {
        Settings::Pair(pair) => pair,
        other => panic!("{other:?}"),
    }
}

pub(super) fn file(source: &Source) -> &Path {
    match source {
        Source::File(path) => path,
        Source::Token(object) => panic!("{object}"),
    }
}

fn token(source: &Source) -> &Object {
    match source {
        Source::Token(object) => object,
        Source::File(path) => panic!("{path:?}"),
    }
}

#[test]
fn an_identity_is_of_one_source() {
    let given =
        Given::url().profile("cert = 'c.pem'\nkey = 'c.key'\nkey_passphrase = 'file:token'");
    let folder = given.folder.path();
    let identity = pair(&given.config(&[]));
    assert_eq!(file(&identity.cert), folder.join("c.pem"));
    assert_eq!(file(&identity.key), folder.join("c.key"));
    let passphrase = identity.passphrase.unwrap();
    assert_eq!(*passphrase.reference(), Reference::File(folder.join("token")));

    let identity = pair(&given.config(&["--cert", "flag.pem"]));
    assert_eq!(file(&identity.cert), Path::new("flag.pem"));
    assert_eq!(file(&identity.key), Path::new("flag.pem"));
    assert!(identity.passphrase.is_none());

    given.refuses(&["--key", "flag.key"], "--key: expected --cert beside the key", "certificate");
    let bare = Given::url();
    bare.refuses(&["--key", "flag.key"], "--key: expected --cert", "");
    bare.refuses(
        &["--key-passphrase", "REF"],
        "--key-passphrase: expected a certificate",
        "--cert",
    );
    Given::url().profile("key = 'c.key'").refuses(&[], "c.toml:2: key: expected a certificate", "");
}

#[test]
fn an_identity_is_of_one_kind() {
    let given = Given::url().profile("cert = 'c.pem'\nkey_passphrase = 'file:token'");
    let Some(Settings::Pkcs12(pkcs12)) = given.config(&["--pkcs12", "c.p12"]).tls.identity else {
        panic!("the profile's certificate came first");
    };
    assert_eq!(pkcs12.file, Path::new("c.p12"));
    assert!(pkcs12.passphrase.is_none());

    let bare = Given::url();
    for (flags, named) in [
        (["--pkcs12", "c.p12", "--cert", "c.pem"], "--cert: expected one client identity"),
        (["--pkcs12", "c.p12", "--key", "c.key"], "--key: expected one client identity"),
        (
            ["--pkcs12", "c.p12", "--key-passphrase", "file:x"],
            "--key-passphrase: there is nothing to",
        ),
        (
            ["--cert", "c.pem", "--pkcs12-passphrase", "file:x"],
            "--pkcs12-passphrase: there is nothing",
        ),
    ] {
        bare.refuses(&flags, named, "");
    }
    bare.refuses(&["--pkcs12", "a", "--cert", "b"], "found --pkcs12 as well", "name it alone");
    bare.refuses(&["--pkcs12-passphrase", "file:x"], "expected a certificate", "--pkcs12 FILE");

    let two = Given::url().profile("pkcs12 = 'c.p12'\nkey = 'c.key'");
    two.refuses(&[], "c.toml:3: key: expected one client identity, found", "");
    let of_profile = Given::url().profile("pkcs12 = 'c.p12'\npkcs12_passphrase = 'file:token'");
    let Some(Settings::Pkcs12(pkcs12)) = of_profile.config(&[]).tls.identity else { panic!() };
    assert_eq!(pkcs12.file, of_profile.folder.path().join("c.p12"));
    assert!(pkcs12.passphrase.is_some());
    assert_eq!(file(&pair(&of_profile.config(&["--cert", "c.pem"])).cert), Path::new("c.pem"));
}

const TOKEN: &str = "pkcs11:token=corp;object=agent?module-path=/usr/lib/hsm.so";

#[test]
fn a_key_on_a_token_is_named_by_its_uri() {
    let given = Given::url().variable("PKCS11_MODULE_PATH", "/usr/lib/others.so");
    let found = pair(&given.config(&["--cert", "c.pem", "--key", TOKEN]));
    let key = token(&found.key);
    assert_eq!(key.to_string(), "pkcs11:token=corp;object=agent (--key)");
    assert_eq!(key.module, Path::new("/usr/lib/hsm.so"));
    assert!(key.pin.is_none() && found.passphrase.is_none());

    let with_pin = ["--cert", "c.pem", "--key", "pkcs11:", "--key-passphrase", "REF"];
    let found = pair(&given.config(&with_pin));
    assert_eq!(token(&found.key).module, Path::new("/usr/lib/others.so"));
    assert!(token(&found.key).pin.is_some() && found.passphrase.is_none());
    let module = [&with_pin[..], &["--pkcs11-module", "/usr/lib/ours.so"]].concat();
    assert_eq!(token(&pair(&given.config(&module)).key).module, Path::new("/usr/lib/ours.so"));
}

#[test]
fn a_certificate_on_a_token_means_the_key_beside_it() {
    let given = Given::url().variable("PKCS11_MODULE_PATH", "/usr/lib/hsm.so");
    let uri = "pkcs11:id=%01;type=cert";
    let found = pair(&given.config(&["--cert", uri, "--key-passphrase", "REF"]));
    assert_eq!(token(&found.cert).to_string(), "pkcs11:id=%01;type=cert (--cert)");
    assert_eq!(token(&found.key).to_string(), "pkcs11:id=%01 (--cert)");
    assert!(token(&found.cert).pin.is_none() && token(&found.key).pin.is_some());
    let in_file = pair(&given.config(&["--cert", uri, "--key", "c.key"]));
    assert_eq!(file(&in_file.key), Path::new("c.key"));
}

#[test]
fn a_uri_that_does_not_hold_is_refused_without_its_values() {
    let given = Given::url().variable("PKCS11_MODULE_PATH", "/usr/lib/hsm.so");
    let pin = format!("pkcs11:?pin-source=file:{}", given.folder.path().join("token").display());
    for (key, what, hint) in [
        ("pkcs11:token=a?pin-value=canary", "--key: pin-value would show the PIN", "REF"),
        ("pkcs11:token=a;color=canary", "--key: the attribute color is not", "before ? stand"),
        ("pkcs11:type=cert", "--key: expected type=private", "leave type out"),
        (&pin, "--key: expected one PIN, found pin-source and --key-passphrase", "keep one"),
    ] {
        let line = ["--cert", "c.pem", "--key", key, "--key-passphrase", "REF"];
        given.refuses(&line, what, hint);
    }
    let line = ["--cert", "c.pem", "--key", &pin];
    assert!(token(&pair(&given.config(&line)).key).pin.is_some());
    let line = ["--cert", "c.pem", "--key", "pkcs11:"];
    Given::url().refuses(&line, "--key: no module is named", "--pkcs11-module FILE");
}
