//! The value of each component, in the one form that both sides come to (RFC 9421, section 2).
//!
//! A value is printable ASCII, and a tab at most: what could end a line of the signature base is
//! refused, since the lines after it would be signed as if they were ours.

use std::borrow::Cow;

use http::HeaderName;
use sfv::{Dictionary, FieldType, Item, List, ListEntry, ListSerializer, Parser};

use super::super::outgoing::Outgoing;
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
    Field {
        name: HeaderName,
        form: Form,
    },
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

impl Source {
    /// Its value in a request; none where it is a header that is not there.
    pub(super) fn value<'r>(
        &self,
        request: &Outgoing<'r>,
    ) -> Result<Option<Cow<'r, str>>, Failure> {
        let value = match self {
            Self::Method => request.method().into(),
            Self::TargetUri => request.url().into(),
            Self::Authority => authority(request.scheme(), request.authority()),
            Self::Scheme => request.scheme().to_ascii_lowercase().into(),
            Self::RequestTarget => match request.query() {
                Some(query) => format!("{}?{query}", request.path()).into(),
                None => request.path().into(),
            },
            Self::Path => request.path().into(),
            Self::Query => format!("?{}", request.query().unwrap_or_default()).into(),
            Self::QueryParam(name) => query_param(name, request.query())?.into(),
            Self::Field { name, form } => {
                let values = request.header(name);
                if values.is_empty() {
                    return Ok(None);
                }
                return field(name, form, &values).map(|value| Some(value.into()));
            }
        };
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unsigned(
                "the URL has a character that no signature can cover".to_owned(),
                "encode it as % and two digits",
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
    let text = String::from_utf8(joined)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)));
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

/// The failure of a request that can't be signed as it is.
pub(super) fn unsigned(what: String, hint: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(Stage::Credential, format!("the request can't be signed: {what}")).hint(hint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{super::component::Component, *};

    const NAME: HeaderName = HeaderName::from_static("x-any");

    fn joined(form: &Form, values: &[&[u8]]) -> Result<String, Failure> {
        field(&NAME, form, &values.iter().map(|value| (*value).into()).collect::<Vec<_>>())
    }

    fn value(component: &str, url: &str) -> Result<String, Failure> {
        let request = http::Request::get(url).header("x-dict", "a=1, b").body(Bytes::new());
        let request = request.unwrap();
        let component = Component::parse(component).unwrap();
        let value = component.value(&Outgoing::new(&request))?;
        Ok(value.unwrap_or_default().into_owned())
    }

    /// The header of section 2.1 that no header map can hold, and its kin.
    #[test]
    fn folded_lines_are_one_line() {
        for (folded, expected) in [
            ("Obsolete\r\n    line folding.", "Obsolete line folding."),
            ("  Obsolete \t\r\n\tline\r\n \r\n folding.\t", "Obsolete line folding."),
            ("\r\n a", "a"),
            ("a\r\n ", "a"),
        ] {
            assert_eq!(joined(&Form::Plain, &[folded.as_bytes()]).unwrap(), expected);
        }
        for broken in ["a\r\nb", "a\nb", "a\n", "\ra", "a\r\n", "a\0b", "caf\u{e9}", "a\x7f"] {
            let failure = joined(&Form::Plain, &[broken.as_bytes()]).unwrap_err();
            assert_eq!(failure.stage(), Stage::Credential);
            assert_eq!(failure.next_step(), Some("cover it as x-any;bs"), "{broken:?}");
            joined(&Form::Bytes, &[broken.as_bytes()]).unwrap();
        }
    }

    /// Section 2.1.1; the type of its example is known to nobody.
    #[test]
    fn structured_fields_are_written_anew() {
        let strict = |structure, values: &[&[u8]]| joined(&Form::Structured(structure), values);
        let dictionary = [&b"a=1,    b=2;x=1;y=2,   c=(a   b   c)"[..]];
        let written = strict(Structure::Dictionary, &dictionary).unwrap();
        assert_eq!(written, "a=1, b=2;x=1;y=2, c=(a b c)");
        assert_eq!(
            strict(Structure::List, &[b"a,  b", b"\"c\";q=1.0"]).unwrap(),
            "a, b, \"c\";q=1.0"
        );
        assert_eq!(strict(Structure::Item, &[b" :YQ==: "]).unwrap(), ":YQ==:");
        assert_eq!(strict(Structure::List, &[b""]).unwrap(), "");
        for structure in [Structure::Item, Structure::List, Structure::Dictionary] {
            strict(structure, &[b"a, (b"]).unwrap_err();
        }
    }

    #[test]
    fn an_authority_is_in_lower_case_and_without_the_port_of_its_scheme() {
        for (url, expected) in [
            ("https://Example.COM/", "example.com"),
            ("https://example.com:443/", "example.com"),
            ("https://example.com:80/", "example.com:80"),
            ("https://example.com:8443/", "example.com:8443"),
            ("http://127.0.0.1:80/", "127.0.0.1"),
            ("https://[::1]:8443/", "[::1]:8443"),
        ] {
            assert_eq!(value("@authority", url).unwrap(), expected);
        }
    }

    #[test]
    fn paths_and_queries_stay_as_they_are_sent() {
        for (component, url, expected) in [
            ("@path", "https://a", "/"),
            ("@path", "https://a/b%2Dc/../d", "/b%2Dc/../d"),
            ("@query", "https://a/b?", "?"),
            ("@query", "https://a/b?x=%41?", "?x=%41?"),
            ("@request-target", "https://a/b", "/b"),
            ("@request-target", "https://a?b", "/?b"),
            ("@target-uri", "https://a/b?c", "https://a/b?c"),
            ("@query-param;name=\"x%26y\"", "https://a/?x%26y=1+2~", "1%202%7E"),
        ] {
            assert_eq!(value(component, url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_there_can_not_be_signed() {
        for (component, what) in [
            ("content-type", "no header content-type"),
            ("x-dict;key=\"c\"", "no member c"),
            ("@query-param;name=\"none\"", "no parameter none"),
            ("@query-param;name=\"twice\"", "more than once"),
        ] {
            let failure = value(component, "https://a/?twice=1&twice=1").unwrap_err();
            assert_eq!(failure.stage(), Stage::Credential);
            assert!(failure.what().contains(what), "{failure}");
            assert!(failure.next_step().is_some());
        }
        assert_eq!(value("content-type?", "https://a").unwrap(), "");
        assert_eq!(value("x-dict?;key=\"b\"", "https://a").unwrap(), "?1");
    }

    proptest! {
        /// Whatever a header or the URL holds, it stays within its own line.
        #[test]
        fn no_value_adds_a_line(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 1..4),
            blanks in "[ \t\r\n]{0,4}",
        ) {
            let mut values = values;
            values[0].extend_from_slice(blanks.as_bytes());
            let values: Vec<Cow<'_, [u8]>> = values.iter().map(|it| it.as_slice().into()).collect();
            for form in [
                Form::Plain,
                Form::Bytes,
                Form::Structured(Structure::Dictionary),
                Form::Member("a".to_owned()),
            ] {
                if let Ok(value) = field(&NAME, &form, &values) {
                    let fits = |byte| byte == b'\t' || (b' '..=b'~').contains(&byte);
                    prop_assert!(value.bytes().all(fits), "{value:?}");
                }
            }
        }
    }
}
