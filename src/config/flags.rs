//! The flags as a layer: each value with the flag's name, the compact forms taken apart.

use crate::{
    cli::{Bridge, Files},
    failure::Failure,
};

use super::{
    forms,
    layer::Layer,
    pairs,
    place::{Place, Stated},
    sent::{self, Sent},
    serve,
    value::{Item, Source},
};

/// What the command line said.
///
/// # Errors
///
/// A value that is not in the form of its flag.
pub(super) fn layer(said: &Bridge) -> Result<Layer, Failure> {
    let login = Place::flag("--proxy-user");
    let of_key = Place::flag("--key-passphrase");
    let of_pkcs12 = Place::flag("--pkcs12-passphrase");
    Ok(Layer {
        name: None,
        url: text("the URL argument", &said.url),
        cert: text("--cert", &said.cert),
        key: text("--key", &said.key),
        key_passphrase: stated(of_key, &said.key_passphrase, forms::reference)?,
        pkcs12: text("--pkcs12", &said.pkcs12),
        pkcs12_passphrase: stated(of_pkcs12, &said.pkcs12_passphrase, forms::reference)?,
        pkcs11_module: text("--pkcs11-module", &said.pkcs11_module),
        spiffe: text("--spiffe", &said.spiffe),
        cacert: said.cacert.iter().map(|file| stated_text("--cacert", file)).collect(),
        system_roots: said.system_roots.then_some(true),
        pinnedpubkey: text("--pinnedpubkey", &said.pinnedpubkey),
        server_name: text("--server-name", &said.server_name),
        server_spiffe_id: text("--server-spiffe-id", &said.server_spiffe_id),
        tls_min: text("--tls-min", &said.tls_min),
        http: text("--http", &said.http),
        sent: sent(said)?,
        protocol: text("--protocol", &said.protocol),
        proxy: text("--proxy", &said.proxy),
        proxy_user: stated(login, &said.proxy_user, forms::login)?,
        connect_timeout: text("--connect-timeout", &said.connect_timeout),
        idle_timeout: text("--idle-timeout", &said.idle_timeout),
        max_message: text("--max-message", &said.max_message),
        audit_log: text("--audit-log", &said.audit_log),
        env_file: env_file(&said.files),
        env: None,
        serve: serve::Said::default(),
    })
}

/// The file of variables, which all commands take.
pub(super) fn env_file(said: &Files) -> Option<Stated<String>> {
    text("--env-file", &said.env_file)
}

fn sent(said: &Bridge) -> Result<Vec<Stated<Sent>>, Failure> {
    let bearer = |place: &Place, text: &str| forms::reference(place, text).map(Sent::Bearer);
    let basic = |place: &Place, text: &str| forms::login(place, text).map(Sent::Basic);
    let fixed = |place: &Place, text: &str| {
        forms::header(place, text).map(|(name, value)| Sent::Header { name, value })
    };
    let api_key = |place: &Place, text: &str| {
        forms::api_key(place, text).map(|(name, key)| Sent::ApiKey { name, key })
    };
    let mut sent = Vec::new();
    for header in &said.header {
        sent.push(owning("--header", header, fixed)?);
    }
    for key in &said.api_key {
        sent.push(owning("--api-key", key, api_key)?);
    }
    sent.extend(stated(Place::flag("--bearer"), &said.bearer, bearer)?);
    sent.extend(stated(Place::flag("--basic"), &said.basic, basic)?);
    sent.extend(paired("--headers-helper", &said.headers_helper, |item| {
        sent::Helper::read(item).map(Sent::Helper)
    })?);
    sent.extend(paired("--jwt", &said.jwt, |item| sent::Jwt::read(item).map(Sent::Jwt))?);
    sent.extend(paired("--hmac", &said.hmac, |item| sent::Hmac::read(item).map(Sent::Hmac))?);
    sent.extend(paired("--http-signature", &said.http_signature, |item| {
        sent::HttpSignature::read(item).map(Sent::HttpSignature)
    })?);
    sent.extend(paired("--aws-sigv4", &said.aws_sigv4, |item| {
        sent::AwsSigv4::read(item).map(Sent::AwsSigv4)
    })?);
    Ok(sent)
}

/// One of a repeatable flag, known by the header that it sets.
fn owning(
    flag: &'static str,
    text: &str,
    form: impl Fn(&Place, &str) -> Result<Sent, Failure>,
) -> Result<Stated<Sent>, Failure> {
    let value = form(&Place::flag(flag), text)?;
    let place = Place::Flag(format!("{flag} {}", value.headers()[0]).into());
    Ok(Stated { value, place })
}

/// A flag whose value is read as a profile's is: a text, or pairs for a table.
fn paired(
    flag: &'static str,
    text: &Option<String>,
    read: impl FnOnce(&Item<'_>) -> Result<Sent, Failure>,
) -> Result<Option<Stated<Sent>>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let source = Source::Flag(flag);
    let value = pairs::read(text).map_err(|name| {
        let what = format_args!("expected each name once, found {name} twice");
        Place::flag(flag).refuse(what).hint("keep one; what needs more belongs in a profile")
    })?;
    let item = Item::of_flag(&source, &value);
    Ok(Some(item.stated(read(&item)?)))
}

fn text(flag: &'static str, value: &Option<String>) -> Option<Stated<String>> {
    value.as_ref().map(|value| stated_text(flag, value))
}

fn stated_text(flag: &'static str, value: &str) -> Stated<String> {
    Stated { value: value.to_owned(), place: Place::flag(flag) }
}

fn stated<T>(
    place: Place,
    text: &Option<String>,
    form: impl Fn(&Place, &str) -> Result<T, Failure>,
) -> Result<Option<Stated<T>>, Failure> {
    text.as_ref().map(|text| formed(place, text, form)).transpose()
}

fn formed<T>(
    place: Place,
    text: &str,
    form: impl Fn(&Place, &str) -> Result<T, Failure>,
) -> Result<Stated<T>, Failure> {
    Ok(Stated { value: form(&place, text)?, place })
}
