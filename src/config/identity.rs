//! Who we are: a certificate and its key, in PEM, on a token, or both in one file of PKCS#12.
//!
//! The identity is replaced as a whole: a certificate from a flag has nothing to do with the key of
//! a profile. Two identities of one source are an error.

use std::path::PathBuf;

use crate::{
    failure::Failure,
    secret::{Held, Reference},
    tls::{
        identity::{Pair, Settings, Source},
        pkcs11::{
            Object,
            uri::{Class, SCHEME, Uri},
        },
        pkcs12,
    },
};

use super::{layer::Layers, place::Stated, scope::Scope};

/// The identity of the flags, else of the profile; never parts of both.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Option<Settings>, Failure> {
    let flags = &said.flags;
    if let (None, Some(key)) = (&flags.cert, &flags.key) {
        if let Some(file) = &flags.pkcs12 {
            return Err(either(file, key));
        }
        let what = "expected --cert beside the key, found none";
        return Err(key.place.refuse(what).hint("name the certificate that the key belongs to"));
    }
    let of_flags = flags.cert.is_some() || flags.pkcs12.is_some();
    let layer = if of_flags { flags } else { &said.profile };
    // Only the passphrase may come from the other side: it opens what is chosen.
    let key_passphrase = flags.key_passphrase.as_ref().or(layer.key_passphrase.as_ref());
    let pkcs12_passphrase = flags.pkcs12_passphrase.as_ref().or(layer.pkcs12_passphrase.as_ref());
    match (&layer.pkcs12, &layer.cert) {
        (Some(file), cert) => {
            if let Some(other) = cert.as_ref().or(layer.key.as_ref()) {
                return Err(either(file, other));
            }
            unused(key_passphrase, "the identity is a file of PKCS#12", "--pkcs12-passphrase")?;
            let passphrase = opened(pkcs12_passphrase, scope)?;
            let file = scope.path(file)?;
            Ok(Some(Settings::Pkcs12(pkcs12::Settings { file, passphrase })))
        }
        (None, Some(cert)) => {
            unused(pkcs12_passphrase, "the identity is no file of PKCS#12", "--key-passphrase")?;
            let pair = Reading { said, scope, passphrase: key_passphrase };
            pair.read(cert, layer.key.as_ref()).map(|pair| Some(Settings::Pair(pair)))
        }
        (None, None) => {
            let passphrase = key_passphrase.or(pkcs12_passphrase).map(|said| &said.place);
            match layer.key.as_ref().map(|key| &key.place).or(passphrase) {
                Some(place) => Err(place
                    .refuse("expected a certificate beside it, found none")
                    .hint("--cert FILE or --pkcs12 FILE, or cert or pkcs12 in the profile")),
                None => Ok(None),
            }
        }
    }
}

fn opened(
    passphrase: Option<&Stated<Reference>>,
    scope: &Scope<'_>,
) -> Result<Option<Held>, Failure> {
    passphrase.map(|said| scope.open(&said.place, &said.value)).transpose()
}

/// Two identities in one place.
fn either(file: &Stated<String>, other: &Stated<String>) -> Failure {
    other
        .place
        .refuse(format_args!("expected one client identity, found {} as well", file.place))
        .hint("a PKCS#12 file holds certificate and key: name it alone, or the two in PEM")
}

/// A passphrase of the other kind would be asked for and never used.
fn unused(passphrase: Option<&Stated<Reference>>, what: &str, flag: &str) -> Result<(), Failure> {
    let Some(said) = passphrase else { return Ok(()) };
    let key = flag.trim_start_matches('-').replace('-', "_");
    Err(said
        .place
        .refuse(format_args!("there is nothing to open with it: {what}"))
        .hint(format!("{flag}, or {key} in the profile, opens what is named")))
}

/// A certificate and its key on their way into settings.
struct Reading<'a> {
    said: &'a Layers,
    scope: &'a Scope<'a>,
    /// What opens the key: its passphrase, or the PIN of its token.
    passphrase: Option<&'a Stated<Reference>>,
}

impl Reading<'_> {
    fn read(&self, cert: &Stated<String>, key: Option<&Stated<String>>) -> Result<Pair, Failure> {
        let certificate = self.source(cert, Class::Certificate, false)?;
        // Without a key of its own, the one in the same file or beside it on the token.
        let key = self.source(key.unwrap_or(cert), Class::Private, key.is_none())?;
        let in_file = matches!(key, Source::File(_));
        let passphrase = if in_file { opened(self.passphrase, self.scope)? } else { None };
        Ok(Pair { cert: certificate, key, passphrase })
    }

    fn source(&self, said: &Stated<String>, class: Class, beside: bool) -> Result<Source, Failure> {
        if !said.value.starts_with(SCHEME) {
            return self.scope.path(said).map(Source::File);
        }
        let text = self.scope.text(said)?;
        let mut uri: Uri = text.parse().map_err(|error: <Uri as std::str::FromStr>::Err| {
            said.place.refuse(&error).hint(error.hint())
        })?;
        if beside {
            uri.class = None;
        } else if uri.class.is_some_and(|said| said != class) {
            let expected = format!("expected type={}, found another type", class.name());
            return Err(said
                .place
                .refuse(expected)
                .hint("leave type out: the flag says what it is"));
        }
        let Some(module) = self.module(&uri)? else {
            return Err(said.place.refuse("no module is named that knows the token").hint(
                "?module-path=/usr/lib/... in the URI, --pkcs11-module FILE, or the variable \
                 PKCS11_MODULE_PATH",
            ));
        };
        let flag = match class {
            Class::Private if !beside => "--key",
            _ => "--cert",
        };
        let pin = self.pin(said, &uri, class)?;
        Ok(Source::Token(Box::new(Object { uri, module, pin, flag })))
    }

    /// The token's library: the URI's, else ours, else that of the variable that others read.
    fn module(&self, uri: &Uri) -> Result<Option<PathBuf>, Failure> {
        if let Some(path) = &uri.module {
            return Ok(Some(path.clone()));
        }
        let variable = self.scope.stated("PKCS11_MODULE_PATH").filter(|it| !it.value.is_empty());
        let module = self.said.first(|layer| &layer.pkcs11_module).or(variable.as_ref());
        module.map(|module| self.scope.path(module)).transpose()
    }

    /// The PIN is for the key; a certificate needs one only where its own URI says so.
    fn pin(&self, said: &Stated<String>, uri: &Uri, class: Class) -> Result<Option<Held>, Failure> {
        let passphrase = self.passphrase.filter(|_| class == Class::Private);
        match (&uri.pin, passphrase) {
            (Some(_), Some(passphrase)) => Err(said
                .place
                .refuse(format_args!("expected one PIN, found pin-source and {}", passphrase.place))
                .hint("keep one of the two")),
            (Some(path), None) => {
                self.scope.open(&said.place, &Reference::File(path.clone())).map(Some)
            }
            (None, passphrase) => opened(passphrase, self.scope),
        }
    }
}
