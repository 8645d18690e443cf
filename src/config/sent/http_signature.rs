//! `--http-signature` and `http_signature`: what was said of it, and what it comes to.

use std::time::Duration;

use crate::{
    credentials::{
        http_signature::{Algorithm, Component, Components, Digest, Label, Settings, Text},
        key::Encoding,
    },
    failure::Failure,
    secret::Reference,
};

use super::super::{
    forms,
    place::{Place, Stated},
    scope::Scope,
    value::Item,
};

const KEYS: [&str; 12] = [
    "alg",
    "key",
    "key_encoding",
    "keyid",
    "components",
    "digest",
    "created",
    "expires",
    "nonce",
    "tag",
    "send_alg",
    "label",
];

/// What was said. Boxed, since it is much more than most kinds have to say.
pub(in crate::config) struct Said(Box<Words>);

struct Words {
    algorithm: Algorithm,
    key: Stated<Reference>,
    encoding: Option<Encoding>,
    components: Components,
    digest: Option<Digest>,
    label: Label,
    keyid: Option<Stated<String>>,
    tag: Option<Stated<String>>,
    created: bool,
    lifetime: Option<Duration>,
    nonce: bool,
    names_algorithm: bool,
}

impl Said {
    /// Reads the table of a profile, or the pairs of the flag.
    pub(in crate::config) fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let example = match &item.place {
            Place::Key { .. } => "{ alg = \"ed25519\", key = \"file:key.pem\", keyid = \"me\" }",
            _ => "--http-signature alg=ed25519,key=file:key.pem,keyid=me",
        };
        let missing = |name: &str| {
            let what = format!("expected {name}, found none");
            item.place.refuse(what).hint(format!("write it as in {example}"))
        };
        if item.text().is_some() {
            return Err(missing("alg and key"));
        }
        let keys = Keys::read(item)?;
        let algorithm = keys.algorithm.ok_or_else(|| missing("alg"))?;
        let key = keys.key.ok_or_else(|| missing("key"))?;
        let components = match keys.components {
            Some(components) => components,
            None => defaults().map_err(|failure| item.place.blame(&failure))?,
        };
        idle(algorithm, keys.encoding.as_ref(), &components, keys.digest.as_ref())?;
        let label = match keys.label {
            Some(label) => label,
            None => Label::new(Label::DEFAULT).map_err(|failure| item.place.blame(&failure))?,
        };
        Ok(Self(Box::new(Words {
            algorithm,
            key,
            encoding: keys.encoding.map(|encoding| encoding.value),
            components,
            digest: keys.digest.map(|digest| digest.value),
            label,
            keyid: keys.keyid,
            tag: keys.tag,
            created: keys.created.unwrap_or(true),
            lifetime: keys.lifetime,
            nonce: keys.nonce,
            names_algorithm: keys.names_algorithm,
        })))
    }

    /// The headers it owns.
    pub(super) fn headers(&self) -> Vec<String> {
        let mut headers = vec!["signature-input".to_owned(), "signature".to_owned()];
        headers.extend(self.0.components.cover_digest().then(|| "content-digest".to_owned()));
        headers
    }

    /// The settings, with templates filled in and references opened.
    pub(in crate::config) fn settle(
        &self,
        _place: &Place,
        scope: &Scope<'_>,
    ) -> Result<Settings, Failure> {
        let said = &self.0;
        let text = |stated: &Option<Stated<String>>| {
            let Some(stated) = stated else { return Ok(None) };
            let text = Text::new(&scope.text(stated)?);
            text.map(Some).map_err(|failure| stated.place.blame(&failure))
        };
        let settings = Settings {
            algorithm: said.algorithm,
            key: scope.open(&said.key.place, &said.key.value)?,
            encoding: said.encoding.unwrap_or_default(),
            components: said.components.clone(),
            digest: said.digest.unwrap_or_default(),
            label: said.label.clone(),
            keyid: text(&said.keyid)?,
            tag: text(&said.tag)?,
            created: said.created,
            lifetime: said.lifetime,
            nonce: said.nonce,
            names_algorithm: said.names_algorithm,
        };
        settings.check().map_err(|failure| said.key.place.blame(&failure))?;
        Ok(settings)
    }
}

/// The keys that were there.
#[derive(Default)]
struct Keys {
    algorithm: Option<Algorithm>,
    key: Option<Stated<Reference>>,
    encoding: Option<Stated<Encoding>>,
    components: Option<Components>,
    digest: Option<Stated<Digest>>,
    label: Option<Label>,
    keyid: Option<Stated<String>>,
    tag: Option<Stated<String>>,
    created: Option<bool>,
    lifetime: Option<Duration>,
    nonce: bool,
    names_algorithm: bool,
}

impl Keys {
    fn read(item: &Item<'_>) -> Result<Self, Failure> {
        let mut keys = Self::default();
        for item in item.items()? {
            match item.name {
                "alg" => keys.algorithm = Some(algorithm(&item)?),
                "key" => keys.key = Some(item.stated(item.reference()?)),
                "key_encoding" => keys.encoding = Some(item.stated(encoding(&item)?)),
                "components" => keys.components = Some(components(&item)?),
                "digest" => keys.digest = Some(item.stated(digest(&item)?)),
                "label" => {
                    let label = Label::new(&item.string()?.value);
                    keys.label = Some(label.map_err(|failure| item.place.blame(&failure))?);
                }
                "keyid" => keys.keyid = Some(item.scalar()?),
                "tag" => keys.tag = Some(item.scalar()?),
                "created" => keys.created = Some(item.boolean()?),
                "expires" => keys.lifetime = Some(lifetime(&item)?),
                "nonce" => keys.nonce = item.boolean()?,
                "send_alg" => keys.names_algorithm = item.boolean()?,
                _ => return Err(item.unknown(&KEYS)),
            }
        }
        Ok(keys)
    }
}

/// Refuses what was said of something that there is not: whoever wrote it expects it to be there.
fn idle(
    algorithm: Algorithm,
    encoding: Option<&Stated<Encoding>>,
    components: &Components,
    digest: Option<&Stated<Digest>>,
) -> Result<(), Failure> {
    if let Some(Stated { place, .. }) = encoding
        && algorithm != Algorithm::HmacSha256
    {
        let refused = place.refuse(format_args!("the key of {} is in PEM", algorithm.name()));
        let hint = "remove key_encoding, which is for the shared secret of hmac-sha256";
        return Err(refused.hint(hint));
    }
    if let Some(Stated { place, .. }) = digest
        && !components.cover_digest()
    {
        let refused = place.refuse("the body is not covered, so there is no digest of it");
        return Err(refused.hint("add content-digest to the components, or remove this"));
    }
    Ok(())
}

fn algorithm(item: &Item<'_>) -> Result<Algorithm, Failure> {
    Algorithm::named(&item.string()?.value).ok_or_else(|| {
        let names = Algorithm::ALL.map(Algorithm::name).join(", ");
        item.place
            .refuse("expected an algorithm of RFC 9421, found something else")
            .hint(format!("the algorithms are {names}"))
    })
}

fn encoding(item: &Item<'_>) -> Result<Encoding, Failure> {
    match item.string()?.value.as_str() {
        "raw" => Ok(Encoding::Raw),
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        _ => Err(item.place.refuse("expected raw, hex or base64, found something else")),
    }
}

fn digest(item: &Item<'_>) -> Result<Digest, Failure> {
    Digest::named(&item.string()?.value).ok_or_else(|| {
        let names = Digest::ALL.map(Digest::name).join(" or ");
        item.place.refuse(format_args!("expected {names}, found something else"))
    })
}

fn lifetime(item: &Item<'_>) -> Result<Duration, Failure> {
    let time = forms::duration(&item.scalar()?.value).map_err(|what| item.place.refuse(what))?;
    if time.as_secs() == 0 {
        return Err(item.place.refuse("expected a second at least, found less"));
    }
    Ok(time)
}

/// A list, or one text with blanks between the names, as a flag has it.
fn components(item: &Item<'_>) -> Result<Components, Failure> {
    let texts = item.strings()?;
    let names = texts.iter().flat_map(|text| text.value.split_ascii_whitespace());
    let components = names.map(Component::parse).collect::<Result<_, _>>();
    components.and_then(Components::new).map_err(|failure| item.place.blame(&failure))
}

fn defaults() -> Result<Components, Failure> {
    let components = Components::DEFAULT.into_iter().map(Component::parse);
    Components::new(components.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::{
        super::super::{pairs, value::Source},
        *,
    };

    fn of_flag(text: &str) -> Result<Said, Failure> {
        let value = pairs::read(text).unwrap();
        Said::read(&Item::of_flag(&Source::Flag("--http-signature"), &value))
    }

    #[test]
    fn a_flag_says_what_a_table_says() {
        let said = of_flag("alg=ed25519,key=file:k.pem,keyid=me").unwrap();
        assert_eq!(said.0.algorithm, Algorithm::Ed25519);
        assert!(said.0.created && !said.0.nonce && !said.0.names_algorithm);
        assert_eq!(said.headers(), ["signature-input", "signature", "content-digest"]);
        let said = of_flag(
            "alg=hmac-sha256,key=env:K,key_encoding=base64,components=@method @path x;bs,\
             created=false,expires=5m,nonce=true,send_alg=true,label=a,tag=b",
        );
        let said = said.unwrap();
        assert_eq!(said.0.encoding, Some(Encoding::Base64));
        assert_eq!(said.0.lifetime, Some(Duration::from_secs(300)));
        assert!(!said.0.created && said.0.nonce && said.0.names_algorithm);
        assert_eq!(said.headers(), ["signature-input", "signature"]);
    }

    #[test]
    fn what_can_not_be_is_refused_where_it_stands() {
        for (text, what) in [
            ("file:k.pem", "--http-signature: expected alg and key, found none"),
            ("key=file:k.pem", "--http-signature: expected alg, found none"),
            ("alg=ed25519", "--http-signature: expected key, found none"),
            ("alg=EdDSA,key=file:k", "--http-signature alg: expected an algorithm"),
            ("alg=ed25519,key=canary", "--http-signature key: expected a reference"),
            (
                "alg=ed25519,key=file:k,key_encoding=hex",
                "key_encoding: the key of ed25519 is in PEM",
            ),
            ("alg=hmac-sha256,key=file:k,key_encoding=b", "key_encoding: expected raw, hex"),
            ("alg=ed25519,key=file:k,components=@status", "components: the component @status"),
            ("alg=ed25519,key=file:k,components=", "components: expected components"),
            ("alg=ed25519,key=file:k,expires=10ms", "expires: expected a second"),
            ("alg=ed25519,key=file:k,digest=md5", "digest: expected sha-256 or sha-512"),
            ("alg=ed25519,key=file:k,components=@path,digest=sha-512", "digest: the body is not"),
            ("alg=ed25519,key=file:k,label=Sig1", "label: the label is not"),
            ("alg=ed25519,key=file:k,created=no", "created: expected true or false"),
            ("alg=ed25519,key=file:k,keyId=me", "keyId: unknown key"),
        ] {
            let failure = of_flag(text).map(|_| ()).unwrap_err();
            assert!(failure.what().contains(what), "{text}: {failure}");
            assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        }
    }
}
