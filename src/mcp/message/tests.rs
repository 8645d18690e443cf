//! What is a message and what is none, and that nothing of one changes.

#![allow(clippy::unwrap_used)]
use super::*;

fn parse(text: &str) -> Result<Message, Malformed> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn envelopes_are_told_apart() {
    let request = parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{}}"#).unwrap();
    assert!(matches!(request.single(), Some(Envelope::Request { id, method })
        if id.token() == "1" && &**method == "tools/call"));
    let notification = parse(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#).unwrap();
    assert!(matches!(notification.single(), Some(Envelope::Notification { .. })));
    let null_result = parse(r#"{"jsonrpc":"2.0","id":"a","result":null}"#).unwrap();
    assert!(matches!(null_result.single(), Some(Envelope::Response { id: Some(_), error: None })));
    let error = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#).unwrap();
    assert!(matches!(error.single(), Some(Envelope::Response { id: None, error: Some(_) })));
}

#[test]
fn number_and_string_ids_stay_apart_and_escapes_do_not_matter() {
    assert_ne!(Id::from_token("1"), Id::from_token("\"1\""));
    assert_eq!(Id::from_token(r#""a/b""#), Id::from_token(r#""a\/b""#));
    assert_eq!(Id::from_token("{}"), None);
    assert_eq!(Id::from_token("nul"), None);
}

#[test]
fn bytes_are_kept_and_only_line_ends_change() {
    let text = "{\"jsonrpc\":\"2.0\",\n \"id\": 1e3,\r\n\"method\":\"a\\nb\", \"x\":[1.00]}";
    let message = parse(&format!(" \n{text}\n")).unwrap();
    assert_eq!(message.bytes(), text.as_bytes());
    assert_eq!(message.line(), text.replace(['\n', '\r'], " ").as_bytes());
}

#[test]
fn a_request_is_repeated_under_another_id() {
    let message = parse(r#"{"id": "x\"y" ,"method":"initialize","params":{"id":1}}"#).unwrap();
    assert_eq!(
        message.with_id("\"own\""),
        r#"{"id": "own" ,"method":"initialize","params":{"id":1}}"#
    );
}

#[test]
fn an_edited_request_is_as_if_it_had_been_read_again() {
    let message = parse(r#"{"id": "x\"y" ,"method":"a\/b","params":{"id":1}}"#).unwrap();
    let edits = [Edit::Set(&["id"], "7".into()), Edit::Remove(&["params", "id"])];
    let [params] = edit::picked(message.bytes(), &[], ["params"]).unwrap();
    let params = params.unwrap();
    let edited = message.edited(&edits).unwrap();
    assert_eq!(edited.bytes(), r#"{"id": 7 ,"method":"a\/b","params":{}}"#);
    let again = Message::parse(edited.bytes().clone()).unwrap();
    assert_eq!(edited.single(), again.single());
    assert_eq!(edited.with_id("[]"), again.with_id("[]"));
    let known = message.replaced("7", message.place_of(params), "{}");
    assert_eq!(known.unwrap().bytes(), edited.bytes());
    let response = parse(r#"{"id":1,"result":{}}"#).unwrap();
    assert!(response.edited(&edits[..1]).is_none(), "its error would have to be read");
}

#[test]
fn what_is_no_json_is_told_from_what_is_no_rpc() {
    for text in ["", "{", "nonsense", "{\"id\":1,}", "[1", "{\"id\":1}x", "\u{1}"] {
        assert!(matches!(parse(text), Err(Malformed::NotJson(_))), "{text}");
    }
    for text in ["1", "{}", "[]", "[1]", r#"{"id":{},"method":"x"}"#, r#"{"id":null,"method":"x"}"#]
    {
        assert!(matches!(parse(text), Err(Malformed::NotRpc { .. })), "{text}");
    }
    let doubled = parse(r#"{"id":1,"id":2,"method":"x"}"#);
    assert!(matches!(doubled, Err(Malformed::NotRpc { .. })));
    assert!(matches!(
        Message::parse(Bytes::from_static(b"{\"a\":\"\xff\"}")),
        Err(Malformed::NotJson(_))
    ));
}

#[test]
fn a_broken_batch_still_names_the_requests_in_it() {
    let Err(Malformed::NotRpc { ids, .. }) = parse(r#"[{"id":1,"method":"x"},{"a":1}]"#) else {
        panic!("expected no RPC")
    };
    assert_eq!(ids, vec![Id::from_token("1").unwrap()]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_answered_and_never_changed(bytes: Vec<u8>) {
        if let Ok(message) = Message::parse(Bytes::from(bytes.clone())) {
            proptest::prop_assert_eq!(message.bytes(), bytes.trim_ascii());
        }
    }

    #[test]
    fn any_json_object_with_a_method_is_carried(id in "[1-9][0-9]{0,8}|\"[a-z]{0,9}\"",
                                                 method in "[a-z/]{1,20}", blank in "[ \n\t\r]{0,3}") {
        let text = format!("{{{blank}\"id\"{blank}:{blank}{id}{blank},\"method\":\"{method}\"}}");
        let message = parse(&text).unwrap();
        let own = message.with_id("9");
        proptest::prop_assert!(Message::parse(own).is_ok());
        let line = message.line();
        proptest::prop_assert!(!line.contains(&b'\n') && line.len() == text.len());
    }
}
