//! A key that stays on its token, made of software (SoftHSM2): real handshakes with it, and what is
//! said when the token, the PIN or the object is another. `tests/pkcs11/run` installs what it takes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    identity::is_known_as,
    keys,
    rotation::{KEPT, RELOADED, a_session_outlives, known_as},
};
use crate::support::{
    jsonrpc::Client,
    pki::{Identity, Pki},
    process::Countersign,
    refusal::Refusal,
    upstream::Upstream,
};

const PIN: &str = "648219";

/// A token in a folder of the test.
pub(crate) struct Token {
    configuration: PathBuf,
    module: &'static str,
}

impl Token {
    /// An empty token with the label `corp`.
    pub(crate) fn new(pki: &Pki) -> Self {
        let tokens = pki.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let configuration = pki.path().join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        fs::write(&configuration, text).unwrap();
        let module = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("SoftHSM2 is installed: tests/pkcs11/run does that");
        let token = Self { configuration, module };
        let init = ["--init-token", "--free", "--label", "corp", "--so-pin", "87654321"];
        token.run(Command::new("softhsm2-util").args(init).args(["--pin", PIN]));
        token
    }

    fn run(&self, command: &mut Command) {
        let output = command.env("SOFTHSM2_CONF", &self.configuration).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
    }

    fn tool(&self, arguments: &[&str]) {
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", self.module, "--token-label", "corp", "--login", "--pin", PIN]);
        self.run(tool.args(arguments));
    }

    /// Puts the key and the certificate of `identity` on the token.
    pub(crate) fn import(&self, identity: &Identity, label: &str, id: &str) {
        self.import_key(identity, label, id);
        let file = identity.cert.with_extension("der");
        fs::write(&file, identity.cert_der()).unwrap();
        let file = file.to_str().unwrap();
        self.tool(&["--write-object", file, "--type", "cert", "--label", label, "--id", id]);
    }

    fn import_key(&self, identity: &Identity, label: &str, id: &str) {
        let mut import = Command::new("softhsm2-util");
        import.arg("--import").arg(&identity.key).args(["--token", "corp", "--pin", PIN]);
        self.run(import.args(["--label", label, "--id", id]));
    }

    pub(crate) fn remove(&self, label: &str) {
        for kind in ["privkey", "pubkey", "cert"] {
            self.tool(&["--delete-object", "--type", kind, "--label", label]);
        }
    }

    /// The bridge that knows this token and its PIN, without an identity.
    pub(crate) fn bridge(&self, pki: &Pki, upstream: &Upstream) -> Countersign {
        Countersign::to(&upstream.url())
            .cacert(&pki.ca)
            .env("SOFTHSM2_CONF", self.configuration.to_str().unwrap())
            .args(["--pkcs11-module", self.module, "--key-passphrase", "env:PIN"])
            .env("PIN", PIN)
    }
}

/// The bridge with a certificate in a file and the key that the URI means.
pub(crate) fn with_key(
    token: &Token,
    pki: &Pki,
    upstream: &Upstream,
    cert: &Path,
    uri: &str,
) -> Countersign {
    token.bridge(pki, upstream).arg("--cert").arg(cert).args(["--key", uri])
}

#[test]
fn keys_on_a_token_sign_under_both_versions_of_tls() {
    let pki = Pki::new();
    let token = Token::new(&pki);
    let kinds: [(&str, &'static SignatureAlgorithm); 3] = [
        ("rsa", &PKCS_RSA_SHA256),
        ("p256", &PKCS_ECDSA_P256_SHA256),
        ("p384", &PKCS_ECDSA_P384_SHA384),
    ];
    let identities = kinds.map(|(name, kind)| (name, pki.issue_client_with(name, kind)));
    for (index, (name, identity)) in identities.iter().enumerate() {
        token.import(identity, name, &format!("0{index}"));
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let upstream = Upstream::options(&pki).tls(&[version]).start();
        for (name, identity) in &identities {
            let uri = format!("pkcs11:token=corp;object={name};type=private");
            let program = with_key(&token, &pki, &upstream, &identity.cert, &uri);
            is_known_as(&program, &upstream, &format!("CN={name}"));
            // The same by its identifier, the certificate from the token as well.
            let program = token.bridge(&pki, &upstream);
            let program = program.args(["--cert", &format!("pkcs11:token=corp;object={name}")]);
            is_known_as(&program, &upstream, &format!("CN={name}"));
        }
    }
}

#[test]
fn a_profile_names_token_module_and_pin() {
    let pki = Pki::new();
    let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
    token.import_key(&pki.client, "agent", "01");
    let pin = keys::secret(&pki.client, "pin", PIN);
    let profile = format!(
        "[profile.corp]\nurl = \"{}\"\ncacert = \"ca.pem\"\ncert = \"client.pem\"\n\
         key = \"pkcs11:id=%01?module-path={}&pin-source=file:{}\"\n",
        upstream.url(),
        token.module,
        pin.display(),
    );
    let config = pki.path().join("corp.toml");
    fs::write(&config, profile).unwrap();
    let program = Countersign::new().arg("--config").arg(config);
    let program = program.env("SOFTHSM2_CONF", token.configuration.to_str().unwrap());
    is_known_as(&program, &upstream, "CN=client");
}

#[test]
fn what_is_not_on_the_token_is_told_with_what_is() {
    let pki = Pki::new();
    let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
    token.import(&pki.client, "agent", "01");
    token.import_key(&pki.issue_client("other"), "other", "02");
    let refused = |uri: &str, words: &[&str], hint: &str| {
        let program = with_key(&token, &pki, &upstream, &pki.client.cert, uri);
        Refusal::of_initialize(&program).says("configuration", words, hint);
    };
    let words = ["pkcs11:token=home (--key): there is no such token"];
    refused("pkcs11:token=home", &words, "the module has: corp (serial ");
    let words = ["pkcs11:object=agnet (--key): there is no such object on the token"];
    refused("pkcs11:object=agnet", &words, "object=agent;id=%01");
    refused("pkcs11:token=corp", &["several objects are meant"], "object=other;id=%02");
    let words = ["the private key pkcs11:object=other (--key) does not fit the certificate"];
    refused("pkcs11:object=other", &words, "a pair is made together");
    let words = ["cannot load the module /no/such.so"];
    refused("pkcs11:object=agent?module-path=/no/such.so", &words, "--pkcs11-module");
    let rsa = pki.issue_client_with("rsa", &PKCS_RSA_SHA256);
    let program = with_key(&token, &pki, &upstream, &rsa.cert, "pkcs11:object=agent");
    let words = ["pkcs11:object=agent (--key): there is no such object on the token"];
    Refusal::of_initialize(&program).says("configuration", &words, "of this class and kind");
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn a_pin_that_is_wrong_or_missing_is_told_and_never_shown() {
    let pki = Pki::new();
    let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
    token.import_key(&pki.client, "agent", "01");
    let program = with_key(&token, &pki, &upstream, &pki.client.cert, "pkcs11:object=agent");
    let refusal = Refusal::of_initialize(&program.env("PIN", "canary"));
    let words = ["the PIN from env:PIN does not open the token of pkcs11:object=agent (--key)"];
    refusal.says("configuration", &words, "it is not tried again");
    assert!(!refusal.message.contains("canary"));

    let program = Countersign::to(&upstream.url())
        .cacert(&pki.ca)
        .env("SOFTHSM2_CONF", token.configuration.to_str().unwrap())
        .env("PKCS11_MODULE_PATH", token.module)
        .arg("--cert")
        .arg(&pki.client.cert)
        .args(["--key", "pkcs11:object=agent"]);
    let words = ["pkcs11:object=agent (--key): the token wants a PIN, and none is given"];
    Refusal::of_initialize(&program).says("configuration", &words, "--key-passphrase");
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn a_new_certificate_takes_the_new_key_from_the_token() {
    let pki = Pki::new();
    let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
    token.import(&pki.client, "agent", "01");
    let second = pki.issue_client("second");
    let program = with_key(&token, &pki, &upstream, &pki.client.cert, "pkcs11:object=agent");
    a_session_outlives(&program.arg("-v"), &upstream, || {
        token.remove("agent");
        token.import(&second, "agent", "02");
        fs::write(&pki.client.cert, second.cert_pem()).unwrap();
    });
}

#[test]
fn a_hangup_looks_at_a_token_that_has_both() {
    let pki = Pki::new();
    let (token, upstream) = (Token::new(&pki), Upstream::mutual(&pki));
    token.import(&pki.client, "agent", "01");
    let second = pki.issue_client("second");
    let program = token.bridge(&pki, &upstream).args(["--cert", "pkcs11:object=agent", "-v"]);
    let mut client = Client::start(&program);
    client.handshake();
    token.remove("agent");
    client.process.signal(Signal::HUP);
    client.process.wait_for_stderr(KEPT);
    token.import(&second, "agent", "02");
    client.process.signal(Signal::HUP);
    client.process.wait_for_stderr(&format!("{RELOADED}CN=second"));
    assert_eq!(known_as(&mut client, &upstream), "CN=second");
    assert_eq!(client.finish(), [] as [Value; 0]);
}
