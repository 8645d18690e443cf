//! The scheme as a whole: presets, fields, mistakes, and a refusal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::credentials::tests::held;

const NOW: Duration = Duration::from_millis(1_531_420_618_042);

fn settings(draft: &Draft, encoding: Encoding, key: &str) -> Result<Settings, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let held = held(&folder.path().join("key"), key);
    let texts = draft.headers.iter().map(|(_, text)| text).chain([&draft.string_to_sign]);
    let named = texts.into_iter().any(|text| text.contains("{key_id}"));
    Settings::new(draft, held, encoding, named.then(|| KeyId::Name("me".to_owned())))
}

/// The headers of a request that was signed at a fixed moment with a fixed nonce.
fn signed(draft: &Draft, headers: &[(&str, &str)]) -> Result<Vec<(String, String)>, Failure> {
    let hmac = Hmac::new(settings(draft, Encoding::Raw, "It's a Secret to Everybody")?);
    let mut request = http::Request::post("https://gateway.example:8443/mcp?a=b%20c");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Bytes::from_static(b"Hello, World!")).unwrap();
    sent_by(&hmac, &mut request, b"It's a Secret to Everybody")
}

fn sent_by(
    hmac: &Hmac,
    request: &mut Request,
    key: &[u8],
) -> Result<Vec<(String, String)>, Failure> {
    let key = hmac.running(key).ok().unwrap();
    hmac.sign(request, &key, (SystemTime::UNIX_EPOCH + NOW, "abcd", b"me"))?;
    let own = hmac.names.iter().map(|name| {
        let value = &request.headers()[name];
        assert!(value.is_sensitive());
        (name.to_string(), value.to_str().unwrap().to_owned())
    });
    Ok(own.collect())
}

fn draft(string_to_sign: &str) -> Draft {
    let headers = [("X-S", "{signature}"), ("X-T", "{timestamp}"), ("X-N", "{nonce}")];
    Draft {
        string_to_sign: string_to_sign.to_owned(),
        headers: headers.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec(),
        ..Draft::preset("body", Algorithm::Sha256, None).unwrap()
    }
}

fn code(text: &[u8]) -> String {
    let key = Running::new(Algorithm::Sha256, Encoding::Raw, b"It's a Secret to Everybody");
    let mut running = (*key.ok().unwrap()).clone();
    running.update(text);
    hex(&running.finish())
}

#[test]
fn presets_send_what_their_inventors_send() {
    let preset = |name| Draft::preset(name, Algorithm::Sha256, None).unwrap();
    let named = |headers: Vec<(String, String)>| -> Vec<String> {
        headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    };
    let body = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(
        named(signed(&preset("body"), &[]).unwrap()),
        [format!("x-hub-signature-256: sha256={body}")]
    );
    assert_eq!(
        named(signed(&preset("timestamp"), &[]).unwrap()),
        [
            "x-timestamp: 1531420618".to_owned(),
            format!("x-signature: {}", code(b"1531420618")),
            "x-api-key: me".to_owned(),
        ]
    );
    assert_eq!(
        named(signed(&preset("timestamp-body"), &[]).unwrap()),
        [format!("stripe-signature: t=1531420618,v1={}", code(b"1531420618.Hello, World!"))]
    );
    assert_eq!(
        named(signed(&preset("slack"), &[]).unwrap())[1],
        format!("x-slack-signature: v0={}", code(b"v0:1531420618:Hello, World!"))
    );
}

#[test]
fn the_example_of_slack() {
    let key = "8f742231b10e8888abcd99yyyzzz85a5";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
                &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
                &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
                %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let preset = Draft::preset("slack", Algorithm::Sha256, None).unwrap();
    let hmac = Hmac::new(settings(&preset, Encoding::Raw, key).unwrap());
    let mut request = Request::new(Bytes::from_static(body.as_bytes()));
    let expected = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    assert_eq!(
        sent_by(&hmac, &mut request, key.as_bytes()).unwrap(),
        [("x-slack-request-timestamp", "1531420618"), ("x-slack-signature", expected)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn every_field_is_of_the_request_that_goes_out() {
    let text = "{method}\n{path}\n{query}\n{host}\n{url}\n{timestamp}\n{nonce}\n{key_id}\n\
                {body}\n{body_sha256}\n{body_sha256_base64}\n{header:X-A}\n{header:x-none?}\n\
                {header:host}\n{header:content-length}";
    let headers = signed(&draft(text), &[("x-a", "1"), ("x-a", "2")]).unwrap();
    let expected = "POST\n/mcp\na=b%20c\ngateway.example:8443\n\
                    https://gateway.example:8443/mcp?a=b%20c\n1531420618\nabcd\nme\n\
                    Hello, World!\n\
                    dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f\n\
                    3/1gIbsr1bCvZ2KQgJ7DpTGR3YHH9wpLKGiKNiGCmG8=\n1, 2\n\n\
                    gateway.example:8443\n13";
    assert_eq!(headers[0].1, code(expected.as_bytes()));
}

#[test]
fn the_moment_is_written_in_three_ways() {
    for (timestamp, expected) in [
        (Timestamp::Unix, "1531420618"),
        (Timestamp::UnixMs, "1531420618042"),
        (Timestamp::Rfc3339, "2018-07-12T18:36:58Z"),
    ] {
        let headers = signed(&Draft { timestamp, ..draft("{timestamp}{nonce}") }, &[]).unwrap();
        assert_eq!(headers[1].1, expected);
    }
}

#[test]
fn a_signed_header_that_is_not_there_stops_the_request() {
    let failure = signed(&draft("{header:x-none}"), &[]).unwrap_err();
    assert_eq!(failure.stage(), Stage::Credential);
    assert!(failure.what().contains("x-none"), "{failure}");
    assert!(failure.next_step().unwrap().contains("{header:x-none?}"));
}

#[test]
fn a_key_that_is_not_written_as_said_is_found_at_start_and_not_shown() {
    for encoding in [Encoding::Hex, Encoding::Base64] {
        let failure = settings(&draft("{body}"), encoding, "canary!").unwrap_err();
        assert_eq!(failure.stage(), Stage::Configuration);
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let key = held(&folder.path().join("key"), "canary");
    let preset = Draft::preset("timestamp", Algorithm::Sha256, None).unwrap();
    let failure = Settings::new(&preset, key, Encoding::Raw, None).unwrap_err();
    assert!(failure.what().contains("{key_id}"), "{failure}");
}

#[test]
fn a_name_of_the_key_that_goes_nowhere_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let key = held(&folder.path().join("key"), "canary");
    let id = Some(KeyId::Secret(held(&folder.path().join("id"), "canary")));
    let failure = Settings::new(&draft("{body}"), key, Encoding::Raw, id).unwrap_err();
    assert_eq!(failure.stage(), Stage::Configuration);
    assert!(failure.what().contains("neither sends nor signs it"), "{failure}");
}

#[tokio::test]
async fn a_key_and_its_id_that_were_refused_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (key, id) = (folder.path().join("key"), folder.path().join("id"));
    let key_id = Some(KeyId::Secret(held(&id, "old-id")));
    let preset = Draft::preset("timestamp", Algorithm::Sha256, None).unwrap();
    let hmac = Hmac::new(Settings::new(&preset, held(&key, "old"), Encoding::Raw, key_id).unwrap());
    let mut request = Request::default();
    let generation = hmac.apply(&mut request).await.unwrap();
    assert_eq!(request.headers()["x-api-key"], "old-id");
    let refused =
        |status: u16| http::Response::builder().status(status).body(()).unwrap().into_parts().0;
    assert!(!hmac.refused(generation, &refused(401)).await, "both are as they were");
    std::fs::write(&id, "new-id").unwrap();
    assert!(!hmac.refused(generation, &refused(500)).await);
    assert!(hmac.refused(generation, &refused(403)).await);
    assert!(hmac.refused(generation, &refused(401)).await, "someone else has looked");
    hmac.apply(&mut request).await.unwrap();
    assert_eq!(request.headers()["x-api-key"], "new-id");
}
