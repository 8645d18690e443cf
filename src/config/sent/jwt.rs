//! `--jwt` and `jwt`: what was said of it, and what it comes to.

mod claims;

use std::time::Duration;

use crate::{
    credentials::{
        jwt::{Algorithm, Carrier, Certificate, Settings},
        key::Encoding,
    },
    failure::Failure,
    secret::Reference,
};

use self::claims::Claims;
use super::super::{
    forms,
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

const KEYS: [&str; 16] = [
    "alg",
    "key",
    "key_encoding",
    "iss",
    "sub",
    "aud",
    "claims",
    "lifetime",
    "per_request",
    "kid",
    "typ",
    "header",
    "prefix",
    "certificate",
    "x5c",
    "x5t_s256",
];

/// What was said. Boxed, since it is much more than most kinds have to say.
pub(in crate::config) struct Said(Box<Words>);

struct Words {
    algorithm: Algorithm,
    key: Stated<Reference>,
    encoding: Encoding,
    claims: Claims,
    lifetime: Duration,
    per_request: bool,
    kid: Option<Stated<String>>,
    typ: Option<Stated<String>>,
    carrier: Carrier,
    certificate: Option<Shown>,
}

/// A certificate, and what of it is shown.
struct Shown {
    path: Stated<String>,
    x5c: bool,
    x5t_s256: bool,
}

impl Said {
    /// Reads the table of a profile, or the pairs of the flag.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let keys = Keys::read(item)?;
        let example = match &item.place {
            Place::Key { .. } => "{ alg = \"ES256\", key = \"file:key.pem\", aud = \"gateway\" }",
            _ => "--jwt alg=ES256,key=file:key.pem,aud=gateway",
        };
        let missing = |name: &str| {
            let what = format!("expected {name}, found none");
            item.place.refuse(what).hint(format!("write it as in {example}"))
        };
        let algorithm = keys.algorithm.ok_or_else(|| missing("alg"))?;
        let header = keys.header.as_ref().map(|said| said.value.as_str());
        let prefix = keys.prefix.as_ref().map(|said| said.value.trim_ascii_end());
        let place = keys.header.as_ref().or(keys.prefix.as_ref());
        let place = place.map_or(&item.place, |said| &said.place);
        Ok(Self(Box::new(Words {
            algorithm,
            key: keys.key.ok_or_else(|| missing("key"))?,
            encoding: keys.encoding.unwrap_or_default(),
            claims: keys.claims,
            lifetime: keys.lifetime.unwrap_or(Settings::DEFAULT_LIFETIME),
            per_request: keys.per_request,
            kid: keys.kid,
            typ: keys.typ,
            carrier: Carrier::new(header, prefix).map_err(|failure| place.blame(&failure))?,
            certificate: shown(algorithm, keys.certificate, &keys.x5c, &keys.x5t_s256)?,
        })))
    }

    /// The headers it owns.
    pub(super) fn headers(&self) -> Vec<String> {
        vec![self.0.carrier.name().to_string()]
    }

    /// The settings, with templates filled in and references opened.
    pub(in crate::config) fn settle(
        &self,
        _place: &Place,
        scope: &Scope<'_>,
    ) -> Result<Settings, Failure> {
        let said = &self.0;
        let text =
            |said: &Option<Stated<String>>| said.as_ref().map(|it| scope.text(it)).transpose();
        let certificate = match &said.certificate {
            None => None,
            Some(Shown { path, x5c, x5t_s256 }) => {
                Some(Certificate { path: scope.path(path)?, x5c: *x5c, x5t_s256: *x5t_s256 })
            }
        };
        let settings = Settings {
            algorithm: said.algorithm,
            key: scope.open(&said.key.place, &said.key.value)?,
            encoding: said.encoding,
            certificate,
            kid: text(&said.kid)?,
            typ: text(&said.typ)?.unwrap_or_else(|| Settings::DEFAULT_TYPE.to_owned()),
            claims: said.claims.settle(said.per_request, scope)?,
            lifetime: said.lifetime,
            per_request: said.per_request,
            carrier: said.carrier.clone(),
        };
        settings.check().map_err(|failure| said.key.place.blame(&failure))?;
        Ok(settings)
    }
}

/// The certificate, where one is shown.
fn shown(
    algorithm: Algorithm,
    path: Option<Stated<String>>,
    x5c: &Option<Stated<bool>>,
    x5t_s256: &Option<Stated<bool>>,
) -> Result<Option<Shown>, Failure> {
    let asked = |said: &Option<Stated<bool>>| said.as_ref().is_some_and(|said| said.value);
    let Some(path) = path else {
        return match [x5c, x5t_s256].into_iter().flatten().find(|said| said.value) {
            None => Ok(None),
            Some(said) => Err(said
                .place
                .refuse("expected a certificate to show, found none")
                .hint("add certificate = \"FILE\", the certificate of the key in PEM")),
        };
    };
    if algorithm.is_shared() {
        let what = format!("{algorithm} signs with a shared secret, which has no certificate");
        return Err(path.place.refuse(what).hint("remove it, or sign with a private key"));
    }
    let (x5c, x5t_s256) = (asked(x5c), asked(x5t_s256));
    if !x5c && !x5t_s256 {
        let refused = path.place.refuse("the certificate is not shown");
        return Err(refused.hint("add x5c = true for all of it, x5t_s256 = true for its hash"));
    }
    Ok(Some(Shown { path, x5c, x5t_s256 }))
}

/// The keys that were there.
#[derive(Default)]
struct Keys {
    algorithm: Option<Algorithm>,
    key: Option<Stated<Reference>>,
    encoding: Option<Encoding>,
    claims: Claims,
    lifetime: Option<Duration>,
    per_request: bool,
    kid: Option<Stated<String>>,
    typ: Option<Stated<String>>,
    header: Option<Stated<String>>,
    prefix: Option<Stated<String>>,
    certificate: Option<Stated<String>>,
    x5c: Option<Stated<bool>>,
    x5t_s256: Option<Stated<bool>>,
}

impl Keys {
    fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for item in item.items()? {
            match item.name {
                "alg" => {
                    let name = item.string()?.value;
                    let algorithm = Algorithm::new(&name);
                    keys.algorithm = Some(algorithm.map_err(|failure| item.place.blame(&failure))?);
                }
                "key" => keys.key = Some(item.stated(item.reference()?)),
                "key_encoding" => keys.encoding = Some(item.key_encoding()?),
                "iss" | "sub" => keys.claims.add_text(&item)?,
                "aud" => keys.claims.add_audience(&item)?,
                "claims" => keys.claims.add_all(&item)?,
                "lifetime" => keys.lifetime = Some(lifetime(&item)?),
                "per_request" => keys.per_request = item.boolean()?,
                // A key's name may look like a number.
                "kid" => keys.kid = Some(item.scalar()?),
                "typ" => keys.typ = Some(item.string()?),
                "header" => keys.header = Some(item.string()?),
                "prefix" => keys.prefix = Some(item.string()?),
                "certificate" => keys.certificate = Some(item.string()?),
                "x5c" => keys.x5c = Some(item.stated(item.boolean()?)),
                "x5t_s256" => keys.x5t_s256 = Some(item.stated(item.boolean()?)),
                _ => return Err(item.unknown(&KEYS)),
            }
        }
        Ok(keys)
    }
}

fn lifetime(item: &Item<'_>) -> Result<Duration, Failure> {
    let lifetime = forms::duration(&item.scalar()?.value);
    let lifetime = lifetime.map_err(|error| item.place.refuse(error))?;
    if lifetime < Settings::SHORTEST_LIFETIME {
        let what = format!("expected {}s or more", Settings::SHORTEST_LIFETIME.as_secs());
        let refused = item.place.refuse(what);
        return Err(refused.hint("a token begins some seconds ago, for upstreams that are slow"));
    }
    if lifetime > Settings::LONGEST_LIFETIME {
        let hours = Settings::LONGEST_LIFETIME.as_secs() / 3600;
        let refused = item.place.refuse(format!("expected {hours}h or less"));
        return Err(refused.hint("a new token is made long before one is over: minutes are enough"));
    }
    Ok(lifetime)
}

#[cfg(test)]
mod tests;
