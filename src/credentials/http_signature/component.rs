//! The components of a request that a signature covers (RFC 9421, section 2), by name.
//!
//! Names are read once, at start: what no request can have, what is added after the signature and
//! what a connection may change is refused here, with the reason. A name with a `?` is covered
//! where a request has it; one without must be there.

use std::borrow::Cow;

use http::{HeaderName, header};
use sfv::{BareItem, FieldType, Item, Parser};

use super::{
    super::outgoing::Outgoing,
    value::{Form, Source, Structure, encoded, unsigned},
};
use crate::failure::{Failure, Stage};

/// The derived components of a request, which all of them have.
const DERIVED: &[(&str, Source)] = &[
    ("@method", Source::Method),
    ("@target-uri", Source::TargetUri),
    ("@authority", Source::Authority),
    ("@scheme", Source::Scheme),
    ("@request-target", Source::RequestTarget),
    ("@path", Source::Path),
    ("@query", Source::Query),
];

/// Headers that can't be covered, and why.
const LATER: &[(&str, &str)] = &[
    ("cookie", "cookies are added after the signature"),
    ("signature", "it is what carries the signature"),
    ("signature-input", "it is what carries the signature, which covers its content anyway"),
    ("proxy-authorization", "it is for the proxy and does not reach the upstream"),
    ("connection", "it belongs to the connection"),
    ("keep-alive", "it belongs to the connection"),
    ("proxy-connection", "it belongs to the connection"),
    ("te", "it belongs to the connection"),
    ("trailer", "it belongs to the connection"),
    ("transfer-encoding", "it belongs to the connection"),
    ("upgrade", "it belongs to the connection"),
];

/// Structured Fields that a request may have and whose type is known, as `;sf` has to.
const STRUCTURED: &[(&str, Structure)] = &[
    ("content-digest", Structure::Dictionary),
    ("repr-digest", Structure::Dictionary),
    ("want-content-digest", Structure::Dictionary),
    ("want-repr-digest", Structure::Dictionary),
    ("priority", Structure::Dictionary),
    ("accept-signature", Structure::Dictionary),
    ("client-cert-chain", Structure::List),
    ("client-cert", Structure::Item),
];

/// One component.
#[derive(Clone, Debug)]
pub struct Component {
    /// The identifier, as it is written in the signature. Two are equal whatever the order of
    /// their parameters.
    pub(super) identifier: Item,
    pub(super) source: Source,
    /// Whether a request may be without it.
    pub(super) optional: bool,
}

impl Component {
    /// Reads a name and its parameters: `@method`, `content-type?`, `@query-param;name="id"`.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: it is no name, or of nothing that a request here has when it
    /// is signed; or its parameters are not those of its kind.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (name, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
        let (name, optional) = match name.strip_suffix('?') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let name = name.to_ascii_lowercase();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain || name.contains(['"', '\\']) {
            return Err(refuse("expected the name of a component, found none")
                .hint("write it without quotes, as in @method, content-type or x-dict;key=\"a\""));
        }
        let identifier: Item =
            Parser::new(&format!("\"{name}\"{parameters}")).parse().map_err(|_| {
                refuse(format!("the parameters of {name} can't be read"))
                    .hint("write them as in @query-param;name=\"id\" or x-dict;key=\"a\"")
            })?;
        check_target(&name, &identifier)?;
        let source = match name.strip_prefix('@') {
            Some(_) => derived(&name, optional, &identifier)?,
            None => field(&name, &identifier)?,
        };
        Ok(Self { identifier, source, optional })
    }

    /// The header that it is taken from.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderName> {
        match &self.source {
            Source::Field { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Its value in a request; none where it is optional and not there.
    ///
    /// Fails, at [`Stage::Credential`], when it is not there, or can't be covered as it is.
    pub(super) fn value<'r>(
        &self,
        request: &Outgoing<'r>,
    ) -> Result<Option<Cow<'r, str>>, Failure> {
        let value = self.source.value(request)?;
        if value.is_none() && !self.optional {
            let name = self.header().map_or("", HeaderName::as_str);
            return Err(unsigned(
                format!("it has no header {name}, which the signature is to cover"),
                format!("write {name}? to cover it only where it is there"),
            ));
        }
        Ok(value)
    }
}

/// What a signature covers, in order, each once.
#[derive(Clone, Debug)]
pub struct Components(pub(super) Vec<Component>);

impl Components {
    /// What is covered where nothing else was said; each request of a session has it.
    ///
    /// The scheme is left out, which a gateway that ends TLS hides from who verifies behind it.
    pub const DEFAULT: [&str; 6] =
        ["@method", "@authority", "@path", "@query", "content-type?", "content-digest?"];

    /// Takes them in the order in which they are signed.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: one is there twice, or none is sure to be in a request.
    pub fn new(components: Vec<Component>) -> Result<Self, Failure> {
        for (at, component) in components.iter().enumerate() {
            if components[..at].iter().any(|other| other.identifier == component.identifier) {
                let what =
                    format!("the component {} is there twice", component.identifier.serialize());
                return Err(refuse(what).hint("remove one of them"));
            }
        }
        if components.iter().all(|component| component.optional) {
            return Err(refuse("expected components that every request has, found none").hint(
                "name @method and @target-uri at least: a signature that covers nothing fits any \
                 request",
            ));
        }
        Ok(Self(components))
    }

    /// Whether the digest of a body is covered, in whichever form.
    #[must_use]
    pub fn cover_digest(&self) -> bool {
        self.digests().next().is_some()
    }

    /// Whether a request with this body has to have its digest.
    pub(super) fn need_digest(&self, body: &[u8]) -> bool {
        self.digests().any(|digest| !(digest.optional && body.is_empty()))
    }

    fn digests(&self) -> impl Iterator<Item = &Component> {
        self.0.iter().filter(|it| it.header().is_some_and(|name| name == "content-digest"))
    }

    /// The headers that are covered.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().filter_map(Component::header)
    }
}

/// Refuses what is of a response, or of what follows a request's body.
fn check_target(name: &str, identifier: &Item) -> Result<(), Failure> {
    let parameter = |key: &str| identifier.params.contains_key(key);
    let why = if name == "@status" {
        "a request has no status"
    } else if name == "@signature-params" {
        "it is part of every signature, and the last"
    } else if parameter("req") {
        "the parameter req is for signatures of responses"
    } else if parameter("tr") {
        "requests are sent without trailers, which the parameter tr is for"
    } else {
        return Ok(());
    };
    Err(refuse(format!("the component {name} can't be covered: {why}")).hint("remove it"))
}

fn derived(name: &str, optional: bool, identifier: &Item) -> Result<Source, Failure> {
    if optional {
        return Err(refuse(format!("the component {name} has a ?, but every request has it"))
            .hint("write it without the ?, which is for headers"));
    }
    if name == "@query-param" {
        return query_param(identifier);
    }
    let Some((_, source)) = DERIVED.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = DERIVED.iter().map(|(known, _)| *known).collect();
        let known = known.join(", ");
        return Err(refuse(format!("the component {name} is not known"))
            .hint(format!("those that start with @ are {known} and @query-param")));
    };
    if !identifier.params.is_empty() {
        return Err(refuse(format!("the component {name} takes no parameters")).hint("remove them"));
    }
    Ok(source.clone())
}

fn query_param(identifier: &Item) -> Result<Source, Failure> {
    let name = match identifier.params.get("name") {
        Some(BareItem::String(name)) if identifier.params.len() == 1 => name.as_str(),
        _ => {
            return Err(refuse("@query-param takes one parameter, the name as a string")
                .hint("write it as @query-param;name=\"id\""));
        }
    };
    // RFC 9421, section 2.2.8: both sides compare the name as it is when encoded.
    let whole = name.replace('&', "%26").replace('=', "%3D");
    let expected: String = url::form_urlencoded::parse(whole.as_bytes())
        .map(|(name, _)| encoded(name.as_bytes()))
        .collect();
    if expected != name {
        return Err(refuse("the name of a @query-param is not encoded as it has to be")
            .hint(format!("write it as @query-param;name=\"{expected}\"")));
    }
    Ok(Source::QueryParam(name.to_owned()))
}

fn field(name: &str, identifier: &Item) -> Result<Source, Failure> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        refuse(format!("the component {name} is neither a header nor one that starts with @"))
            .hint("write a header's name, as in content-type")
    })?;
    if let Some((_, why)) = LATER.iter().find(|(later, _)| header == *later) {
        let hint = if header == header::TRANSFER_ENCODING || header == header::COOKIE {
            "remove it; content-digest covers the body, @authority and @path what is called"
        } else {
            "remove it"
        };
        return Err(refuse(format!("the header {name} can't be covered: {why}")).hint(hint));
    }
    Ok(Source::Field { form: form(&header, identifier)?, name: header })
}

/// How the value is written: `;bs`, `;sf` or `;key`, as sections 2.1.1 to 2.1.3 have it.
fn form(header: &HeaderName, identifier: &Item) -> Result<Form, Failure> {
    let (mut strict, mut bytes, mut member) = (false, false, None);
    for (key, value) in &identifier.params {
        match (key.as_str(), value) {
            ("sf", BareItem::Boolean(true)) => strict = true,
            ("bs", BareItem::Boolean(true)) => bytes = true,
            ("key", BareItem::String(key)) => member = Some(key.as_str().to_owned()),
            _ => {
                let what = format!("the component {header} has a parameter that is not known");
                return Err(refuse(what).hint("those of a header are ;sf, ;bs and ;key=\"name\""));
            }
        }
    }
    if bytes && (strict || member.is_some()) {
        return Err(refuse(format!("the component {header} has ;bs, which excludes ;sf and ;key"))
            .hint("remove one of them"));
    }
    match member {
        Some(key) => Ok(Form::Member(key)),
        None if bytes => Ok(Form::Bytes),
        None if strict => match STRUCTURED.iter().find(|(known, _)| header == *known) {
            Some((_, structure)) => Ok(Form::Structured(*structure)),
            None => Err(refuse(format!("the type of the structured field {header} is not known"))
                .hint("remove ;sf, or name a member of a dictionary by ;key=\"name\"")),
        },
        None => Ok(Form::Plain),
    }
}

fn refuse(what: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn components(texts: &[&str]) -> Result<Components, Failure> {
        Components::new(texts.iter().map(|text| Component::parse(text)).collect::<Result<_, _>>()?)
    }

    #[test]
    fn names_are_read_with_their_parameters() {
        for (text, identifier, optional) in [
            ("@method", r#""@method""#, false),
            ("Content-Type", r#""content-type""#, false),
            ("mcp-session-id?", r#""mcp-session-id""#, true),
            (r#"@query-param;name="fa%C3%A7ade""#, r#""@query-param";name="fa%C3%A7ade""#, false),
            (r#"x-dict?;key="a""#, r#""x-dict";key="a""#, true),
            (r#"x-dict;key="a";sf"#, r#""x-dict";key="a";sf"#, false),
            ("content-digest;sf", r#""content-digest";sf"#, false),
            ("x-many;bs", r#""x-many";bs"#, false),
        ] {
            let component = Component::parse(text).unwrap();
            assert_eq!(component.identifier.serialize(), identifier, "{text}");
            assert_eq!(component.optional, optional, "{text}");
        }
    }

    #[test]
    fn what_a_request_does_not_have_is_refused_with_the_reason() {
        for (text, why) in [
            ("@status", "a request has no status"),
            ("@signature-params", "part of every signature"),
            ("@method;req", "signatures of responses"),
            ("content-type;req", "signatures of responses"),
            ("x-checksum;tr", "without trailers"),
            ("cookie", "added after the signature"),
            ("Signature", "carries the signature"),
            ("transfer-encoding", "belongs to the connection"),
            ("@body", "not known"),
            ("@method?", "every request has it"),
            ("@path;key=\"a\"", "takes no parameters"),
            ("@query-param", "takes one parameter"),
            ("@query-param;name=id", "takes one parameter"),
            ("@query-param;name=\"a b\"", "not encoded"),
            ("@query-param;name=\"caf%c3%a9\"", "not encoded"),
            ("x-dict;key=a", "not known"),
            ("x-dict;sf", "type of the structured field x-dict is not known"),
            ("x-dict;bs;key=\"a\"", "excludes"),
            ("content-type;x=1", "not known"),
            ("content-type;", "can't be read"),
            ("content type", "expected the name"),
            ("\"content-type\"", "expected the name"),
            ("content-type\n", "expected the name"),
            ("", "expected the name"),
            ("a/b", "neither a header"),
        ] {
            let failure = Component::parse(text).unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration);
            assert!(failure.what().contains(why), "{text}: {failure}");
            assert!(failure.next_step().is_some(), "{text}");
        }
    }

    #[test]
    fn none_is_there_twice() {
        for twice in [
            &["@method", "@method"][..],
            &["content-type", "Content-Type?"],
            &[r#"x;key="a";sf"#, r#"x;sf;key="a""#],
        ] {
            let failure = components(twice).unwrap_err();
            assert!(failure.what().contains("is there twice"), "{failure}");
        }
        components(&["x", "x;bs", r#"x;key="a""#, r#"x;key="b""#]).unwrap();
    }

    #[test]
    fn something_is_always_covered() {
        for texts in [&[][..], &["content-type?"]] {
            let failure = components(texts).unwrap_err();
            assert!(failure.what().contains("every request has"), "{failure}");
        }
        let default = components(&Components::DEFAULT).unwrap();
        assert!(default.need_digest(b"{}") && !default.need_digest(b""));
        let member = components(&["content-digest?", r#"content-digest;key="sha-256""#]).unwrap();
        assert!(member.need_digest(b""));
        assert!(!components(&["@method"]).unwrap().cover_digest());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in r#"(@|[a-z;="?]|key|name|sf|.){0,24}"#) {
            if let Ok(component) = Component::parse(&text) {
                let identifier = component.identifier.serialize();
                prop_assert!(identifier.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
