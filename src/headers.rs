//! What a request to an upstream would get, printed for a client that makes its requests itself.
//!
//! The whole stack is applied to a request without a body, which is never sent. What signs a
//! request can't be printed beforehand: it is refused, and not left out.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use zeroize::Zeroizing;

use crate::{
    credentials::{self, Credential},
    failure::{Failure, Stage},
};

/// The headers of `settings` for a request to `url`, as one JSON object of strings.
///
/// # Errors
///
/// At [`Stage::Configuration`]: a credential signs the request it is sent with. At
/// [`Stage::Credential`]: one can't be had, or can't be told in JSON.
pub async fn print(
    settings: &credentials::Settings,
    url: &Uri,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    to_json(&applied(&credentials::stack(settings), url).await?)
}

/// All that `stack` adds to a request.
async fn applied(stack: &[Arc<dyn Credential>], url: &Uri) -> Result<HeaderMap, Failure> {
    if let Some(signer) = stack.iter().find(|credential| credential.signs()) {
        let what = format!(
            "{} covers each request with its method, URL, time or body, so its headers can't be \
             printed before there is one",
            signer.name()
        );
        return Err(Failure::new(Stage::Configuration, what)
            .hint("let the client start countersign itself, as a stdio server"));
    }
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.clone();
    for credential in stack {
        credential.apply(&mut request).await?;
    }
    Ok(std::mem::take(request.headers_mut()))
}

fn to_json(headers: &HeaderMap) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // By name: the order in a map of headers is nobody's promise.
    let mut values: BTreeMap<&str, Zeroizing<String>> = BTreeMap::new();
    for (name, value) in headers {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| {
            let what = format!("the value of the header {name} is not UTF-8, as JSON has to be");
            Failure::new(Stage::Credential, what).hint("check that the secret is the right one")
        })?;
        values
            .entry(name.as_str())
            // RFC 9110, section 5.3: lines of one name are one, with commas between.
            .and_modify(|line| *line = Zeroizing::new([line, ", ", text].concat()))
            .or_insert_with(|| Zeroizing::new(text.to_owned()));
    }
    // What can stand in a header at most doubles, and a buffer that grows leaves copies behind.
    let room = |(name, value): (&&str, &Zeroizing<String>)| name.len() + 2 * value.len() + 8;
    let mut json = Zeroizing::new(Vec::with_capacity(2 + values.iter().map(room).sum::<usize>()));
    let object: BTreeMap<&str, &str> =
        values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    serde_json::to_writer(&mut *json, &object)
        .map_err(|error| Failure::new(Stage::Credential, format!("no JSON: {error}")))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::{
        credentials::{Generation, Settings, authorization, headers::Header},
        secret::{Held, Reference, Secret},
    };

    fn given(value: &[u8]) -> Held {
        Held::given(Reference::Env("TOKEN".to_owned()), Secret::new(value))
    }

    async fn printed(settings: &Settings) -> Result<String, Failure> {
        let url = Uri::from_static("https://mcp.example.com/mcp");
        let json = print(settings, &url).await?;
        Ok(String::from_utf8(json.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn one_object_of_strings() {
        assert_eq!(printed(&Settings::default()).await.unwrap(), "{}");
        let settings = Settings {
            headers: ["X-Team: a", "X-Odd: \"q\" \\ \té", "X-Team: b"]
                .map(|line| Header::parse(line).unwrap())
                .to_vec(),
            authorization: Some(authorization::Settings::Bearer(given(b"canary"))),
            ..Settings::default()
        };
        assert_eq!(
            printed(&settings).await.unwrap(),
            r#"{"authorization":"Bearer canary","x-odd":"\"q\" \\ \té","x-team":"a, b"}"#
        );
    }

    #[test]
    fn what_json_cannot_hold_is_an_error_that_shows_none_of_it() {
        let value = http::HeaderValue::from_bytes(b"canary\xff").unwrap();
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        let failure = to_json(&headers).unwrap_err();
        assert_eq!(failure.stage(), Stage::Credential);
        assert!(failure.what().contains("authorization"), "{failure}");
        assert!(!format!("{failure:?}").contains("canary"));
    }

    /// Covers the request; asking it for a header would be a mistake.
    struct Signer;

    impl Credential for Signer {
        fn name(&self) -> &'static str {
            "--signer"
        }

        fn owns(&self) -> &[http::HeaderName] {
            &[]
        }

        fn renewable(&self) -> bool {
            false
        }

        fn signs(&self) -> bool {
            true
        }

        fn apply<'a>(
            &'a self,
            _: &'a mut crate::service::Request,
        ) -> BoxFuture<'a, Result<Generation, Failure>> {
            unreachable!()
        }

        fn refused<'a>(
            &'a self,
            _: Generation,
            _: &'a http::response::Parts,
        ) -> BoxFuture<'a, bool> {
            unreachable!()
        }
    }

    #[tokio::test]
    async fn what_signs_a_request_is_refused_by_name_and_nothing_is_fetched() {
        let settings = Settings {
            authorization: Some(authorization::Settings::Bearer(given(b"canary"))),
            ..Settings::default()
        };
        let mut stack = credentials::stack(&settings);
        stack.push(Arc::new(Signer));
        let failure = applied(&stack, &Uri::from_static("https://a.example")).await.unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(failure.what().starts_with("--signer covers each request"), "{failure}");
        assert!(failure.next_step().unwrap().contains("stdio server"));
    }
}
