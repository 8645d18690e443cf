//! What is sent with each request: one owner a header, and no secret in a literal.
//!
//! A header that two settings would set has no good answer, so within a source it is an error; a
//! flag replaces what the profile says of the same header, `Authorization` in all its forms
//! included.

use crate::{
    credentials::{
        Settings, authorization,
        headers::{ApiKey, Header},
        headers_helper::Server,
    },
    failure::Failure,
    secret::environment,
    upstream::url::UpstreamUrl,
};

use super::{
    layer::Layers,
    place::{Place, Stated},
    scope::Scope,
    sent::Sent,
};

/// Headers whose values are secrets: they are filled in from the environment or come from a
/// reference, but do not stand in a command line, which every process of the machine can read.
const SECRET_HEADERS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
];

/// The credentials of both layers, opened.
pub(super) fn settle(
    layers: &Layers,
    scope: &Scope<'_>,
    url: &UpstreamUrl,
) -> Result<Settings, Failure> {
    one_owner_each(&layers.flags.sent)?;
    one_owner_each(&layers.profile.sent)?;
    let replaced = |of_profile: &&Stated<Sent>| {
        layers.flags.sent.iter().any(|flag| flag.value.collides(&of_profile.value).is_some())
    };
    let kept = layers.profile.sent.iter().filter(|sent| !replaced(sent));

    let mut settings = Settings::default();
    for Stated { value, place } in kept.chain(&layers.flags.sent) {
        match value {
            Sent::Header { name, value } => {
                settings.headers.push(header(place, name, value, scope)?);
            }
            Sent::ApiKey { name, key } => {
                let key = ApiKey::new(name, scope.open(place, key)?);
                settings.api_keys.push(key.map_err(|failure| place.blame(&failure))?);
            }
            Sent::Bearer(token) => {
                let token = scope.open(place, token)?;
                settings.authorization = Some(authorization::Settings::Bearer(token));
            }
            Sent::Basic(login) => {
                let (user, password) = scope.login(place, login)?;
                let basic = authorization::Settings::basic(user, password);
                settings.authorization = Some(basic.map_err(|failure| place.blame(&failure))?);
            }
            Sent::Helper(said) => {
                let name = layers.profile.name.clone().unwrap_or_else(|| url.host().to_owned());
                let server = Server { name, url: url.uri().to_string() };
                settings.helper = Some(said.settle(place, scope, server)?);
            }
            Sent::Jwt(said) => settings.jwt = Some(said.settle(place, scope)?),
            Sent::Hmac(said) => settings.hmac = Some(said.settle(place, scope)?),
            Sent::HttpSignature(said) => settings.http_signature = Some(said.settle(place, scope)?),
            Sent::AwsSigv4(said) => {
                settings.aws_sigv4 = Some(said.settle(place, scope, url.host())?)
            }
        }
    }
    // Each source was checked with its places above; this is the sum of both.
    settings.check()?;
    Ok(settings)
}

fn header(place: &Place, name: &str, value: &str, scope: &Scope<'_>) -> Result<Header, Failure> {
    let secret = SECRET_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known));
    if secret && !value.contains("${") {
        return Err(literal(place, name));
    }
    if secret {
        // What fills it in is a secret, and no business of the programs that we start.
        let named = |text: &str| text.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        for text in value.split("${").skip(1) {
            environment::withhold(&text[..named(text).unwrap_or(text.len())]);
        }
    }
    let value = scope.expand(place, value)?;
    Header::new(name, &value).map_err(|failure| place.blame(&failure))
}

/// The failure of a literal secret, which names every way to say it without.
fn literal(place: &Place, name: &str) -> Failure {
    let better = match name.to_ascii_lowercase().as_str() {
        "authorization" => "send it with bearer or basic: --bearer env:NAME, bearer = \"env:NAME\"",
        "proxy-authorization" => "send it with --proxy-user USER:env:NAME",
        "cookie" => "write a template, as in 'Cookie: ${NAME}'",
        _ => "send it with --api-key HEADER=env:NAME, or api_key in a profile",
    };
    let filled_in = match place {
        Place::Flag(_) => {
            "; if the shell or the MCP client filled in a variable here, hand that variable over \
             in \"env\" and name it instead"
        }
        Place::Key { .. } | Place::Variable(_) => "",
    };
    place
        .refuse("expected a reference or a template, found a literal secret")
        .hint(format!("{better}{filled_in}"))
}

/// Refuses two settings for one header.
fn one_owner_each(sent: &[Stated<Sent>]) -> Result<(), Failure> {
    for (index, later) in sent.iter().enumerate() {
        let collision = sent[..index].iter().find_map(|earlier| {
            later.value.collides(&earlier.value).map(|what| (&earlier.place, what))
        });
        if let Some((earlier, what)) = collision {
            let refused = later.place.refuse(format_args!("{earlier} sets {what} already"));
            return Err(refused.hint("keep one of the two: a header has one owner"));
        }
    }
    Ok(())
}
