//! The value of each component, in the one form that both sides come to (RFC 9421, section 2).
//!
//! A value is printable ASCII, and a tab at most: what could end a line of the signature base is
//! refused, since the lines after it would be signed as if they were ours.

use std::borrow::Cow;

use http::HeaderName;
use sfv::{Dictionary, FieldType, Item, List, ListEntry, ListSerializer, Parser};

use super::{super::outgoing::Outgoing, component::Component};
use crate::failure::{Failure, Stage};

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// One parameter of the query, by its encoded name.
    QueryParam(String),
    Field { name: HeaderName, form: Form },
}

/// How the value of a header is written.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// As it is, several joined by a comma.
    Plain,
    /// Each as a Byte Sequence.
    Bytes,
    /// Serialised anew.
    Structured(Structure),
    /// One member of a Dictionary.
    Member(String),
}

/// The types of Structured Fields (RFC 8941, section 3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Structure {
    Item,
    List,
    Dictionary,
}

impl Component {
    /// Its value in a request; none where it is optional and not there.
    pub(super) fn value<'r>(
        &self,
        request: &Outgoing<'r>,
    ) -> Result<Option<Cow<'r, str>>, Failure> {
        let value = match &self.source {
            Source::Method => request.method().into(),
            Source::TargetUri => request.url().into(),
            Source::Authority => authority(request.scheme(), request.authority()),
            Source::Scheme => request.scheme().to_ascii_lowercase().into(),
            Source::RequestTarget => match request.query() {
                Some(query) => format!("{}?{query}", request.path()).into(),
                None => request.path().into(),
            },
            Source::Path => request.path().into(),
            Source::Query => format!("?{}", request.query().unwrap_or_default()).into(),
            Source::QueryParam(name) => query_param(name, request.query())?.into(),
            Source::Field { name, form } => {
                let values = request.header(name);
                if values.is_empty() {
                    return if self.optional { Ok(None) } else { Err(absent(name)) };
                }
                return field(name, form, &values).map(|value| Some(value.into()));
            }
        };
        let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable || value.trim_ascii().len() != value.len() {
            let name = self.identifier.serialize();
            return Err(unsigned(
                format!("the component {name} has a character that no signature can cover"),
                "encode it in the URL as % and two digits",
            ));
        }
        Ok(Some(value))
    }
}

/// The host in lower case, with the port where it is not the scheme's (section 2.2.3).
fn authority<'r>(scheme: &str, authority: &'r str) -> Cow<'r, str> {
    let default = if scheme.eq_ignore_ascii_case("http") { ":80" } else { ":443" };
    let short = authority.strip_suffix(default).unwrap_or(authority);
    if short.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return short.to_ascii_lowercase().into();
    }
    short.into()
}

/// The parameter whose encoded name is `name`, decoded and encoded anew (section 2.2.8).
fn query_param(name: &str, query: Option<&str>) -> Result<String, Failure> {
    let parsed = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut found = parsed.filter(|(key, _)| encoded(key.as_bytes()) == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(encoded(value.as_bytes())),
        (None, _) => Err(unsigned(
            format!("the URL has no parameter {name}, which the signature is to cover"),
            "give it in the URL, or remove it from the components",
        )),
        (Some(_), Some(_)) => Err(unsigned(
            format!("the URL has the parameter {name} more than once"),
            "cover @query instead: one of several can't be told apart",
        )),
    }
}

/// Percent-encoded as a form's value is, but for blanks, which are `%20`.
pub(super) fn encoded(text: &[u8]) -> String {
    url::form_urlencoded::byte_serialize(text)
        .map(|part| if part == "+" { "%20" } else { part })
        .collect()
}

/// The values of a header as one (section 2.1).
fn field(name: &HeaderName, form: &Form, values: &[Cow<'_, [u8]>]) -> Result<String, Failure> {
    let lines = values.iter().map(|value| unfolded(value));
    match form {
        Form::Plain => text(name, lines),
        Form::Bytes => {
            let mut list = ListSerializer::new();
            for line in lines {
                list.bare_item(line.as_slice());
            }
            Ok(list.finish().unwrap_or_default())
        }
        Form::Structured(structure) => {
            let text = text(name, lines)?;
            let parser = Parser::new(&text);
            let strict = match structure {
                Structure::Item => parser.parse::<Item>().map(|item| item.serialize()),
                Structure::List => parser.parse::<List>().map(written),
                Structure::Dictionary => parser.parse::<Dictionary>().map(written),
            };
            strict.map_err(|_| {
                unsigned(
                    format!("the header {name} is not the structured field that it is known as"),
                    "look at where its value comes from, or cover it without ;sf",
                )
            })
        }
        Form::Member(key) => member(name, key, &text(name, lines)?),
    }
}

/// An empty List or Dictionary is written as nothing.
fn written<T: FieldType<SerializeResult = Option<String>>>(value: T) -> String {
    value.serialize().unwrap_or_default()
}

fn member(name: &HeaderName, key: &str, text: &str) -> Result<String, Failure> {
    let dictionary: Dictionary = Parser::new(text).parse().map_err(|_| {
        unsigned(
            format!("the header {name} is no dictionary, of which {key} would be a member"),
            "look at where its value comes from, or cover it without ;key",
        )
    })?;
    match dictionary.get(key) {
        Some(ListEntry::Item(item)) => Ok(item.serialize()),
        Some(ListEntry::InnerList(list)) => {
            Ok(written(List::from([ListEntry::InnerList(list.clone())])))
        }
        None => Err(unsigned(
            format!("the header {name} has no member {key}, which the signature is to cover"),
            "look at where its value comes from, or remove it from the components",
        )),
    }
}

/// The lines as one text, joined by a comma and a blank.
fn text(name: &HeaderName, lines: impl Iterator<Item = Vec<u8>>) -> Result<String, Failure> {
    let joined = lines.collect::<Vec<_>>().join(&b", "[..]);
    let text = String::from_utf8(joined).ok().filter(|text| {
        text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
    });
    text.ok_or_else(|| {
        unsigned(
            format!("the header {name} has a character that no signature can cover"),
            format!("cover it as {name};bs"),
        )
    })
}

/// A value without white space at its ends, and with a blank for each line folding that HTTP/1.1
/// once had (RFC 9112, section 5.2). A line feed that folds nothing stays, to be refused.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, left)) = rest.split_first() {
        let folded = rest.strip_prefix(b"\r\n").filter(|left| left.first().is_some_and(blank));
        match folded {
            Some(left) => {
                while out.last().is_some_and(blank) {
                    out.pop();
                }
                out.push(b' ');
                rest = &left[left.iter().take_while(|byte| blank(byte)).count()..];
            }
            None => {
                out.push(*first);
                rest = left;
            }
        }
    }
    let start = out.iter().take_while(|byte| blank(byte)).count();
    let end = out.iter().rev().take_while(|byte| blank(byte)).count().min(out.len() - start);
    out[start..out.len() - end].to_vec()
}

fn absent(name: &HeaderName) -> Failure {
    unsigned(
        format!("it has no header {name}, which the signature is to cover"),
        format!("write {name}? to cover it only where it is there"),
    )
}

fn unsigned(what: String, hint: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Credential, format!("the request can't be signed: {what}")).hint(hint)
}
