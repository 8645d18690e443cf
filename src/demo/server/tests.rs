//! The demo's server as its callers meet it: requests on one side, answers on the other.
#![allow(clippy::unwrap_used)]
use super::*;

const CALLER: Caller<'_> = Caller { subject: "CN=agent", tenant: "acme" };
const INITIALIZE: &str =
    r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#;

fn request(method: Method, session: Option<&HeaderValue>, body: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body.to_owned()));
    *request.method_mut() = method;
    *request.uri_mut() = PATH.parse().unwrap();
    if let Some(session) = session {
        request.headers_mut().insert(SESSION, session.clone());
    }
    request
}

/// The session that `initialize` opens.
fn opened(server: &Server) -> HeaderValue {
    let opened = server.answer(&CALLER, &request(Method::POST, None, INITIALIZE));
    opened.headers()[SESSION].clone()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a request within a session is answered.
async fn call(method: &str, params: Value) -> Value {
    let server = Server::default();
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let session = opened(&server);
    let answer = server.answer(&CALLER, &request(Method::POST, Some(&session), &body.to_string()));
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(answer["id"], 7);
    answer
}

#[tokio::test]
async fn initialize_opens_a_session_of_its_own() {
    let server = Server::default();
    let answer = server.answer(&CALLER, &request(Method::POST, None, INITIALIZE));
    let session = answer.headers()[SESSION].clone();
    let answer: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(answer["id"], "a");
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    assert_ne!(session, opened(&server));
}

#[test]
fn a_session_is_needed_and_ends_with_its_delete() {
    let server = Server::default();
    let (session, other) = (opened(&server), HeaderValue::from_static("other"));
    let status = |method, session| server.answer(&CALLER, &request(method, session, "{}")).status();
    assert_eq!(status(Method::POST, None), 400);
    assert_eq!(status(Method::POST, Some(&other)), 404);
    assert_eq!(status(Method::PUT, Some(&session)), 405);
    assert_eq!(status(Method::POST, Some(&session)), 202);
    assert_eq!(status(Method::GET, Some(&session)), 200);
    assert_eq!(status(Method::DELETE, Some(&session)), 204);
    assert_eq!(status(Method::GET, Some(&session)), 404);
}

#[test]
fn an_unknown_revision_or_path_is_refused() {
    let server = Server::default();
    let session = opened(&server);
    let mut asked = request(Method::POST, Some(&session), "{}");
    asked.headers_mut().insert(VERSION, HeaderValue::from_static("2024-01-01"));
    assert_eq!(server.answer(&CALLER, &asked).status(), 400);
    let mut asked = request(Method::POST, None, INITIALIZE);
    *asked.uri_mut() = "/other".parse().unwrap();
    assert_eq!(server.answer(&CALLER, &asked).status(), 404);
}

#[tokio::test]
async fn what_is_no_message_is_an_error() {
    let answer = Server::default().answer(&CALLER, &request(Method::POST, None, "[]]"));
    assert_eq!(answer.status(), 400);
    assert!(text(answer).await.contains("-32700"));
}

#[tokio::test]
async fn tools_answer() {
    let greeting = call("tools/call", json!({ "name": "greet", "arguments": { "name": "Ada" } }));
    assert_eq!(greeting.await["result"]["content"][0]["text"], "Hello, Ada!");
    let told = call("tools/call", json!({ "name": "whoami" })).await;
    assert_eq!(told["result"]["content"][0]["text"], "You are CN=agent, of the tenant acme");
    let listed = call("tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_an_error() {
    for (method, params, code) in [
        ("no/such", json!({}), -32601),
        ("tools/call", json!({ "name": "no-such" }), -32602),
        ("tools/call", json!({ "name": "greet" }), -32602),
        ("resources/read", json!({ "uri": "demo://no-such" }), -32002),
        ("prompts/get", json!({ "name": "introduce" }), -32602),
    ] {
        assert_eq!(call(method, params).await["error"]["code"], code, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn progress_comes_before_the_answer_and_only_when_asked_for() {
    let server = Server::default();
    let session = opened(&server);
    for (meta, expected) in [(r#""_meta":{"progressToken":0},"#, 3), ("", 1)] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta}"name":"count_down","arguments":{{"from":2}}}}}}"#
        );
        let answer = server.answer(&CALLER, &request(Method::POST, Some(&session), &body));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        let text = text(answer).await;
        let events: Vec<_> = text.split_terminator("\n\n").collect();
        assert_eq!(events.len(), expected, "{text}");
        assert!(events.last().unwrap().contains("Lift-off!"), "{text}");
        assert!(events[..expected - 1].iter().all(|event| event.contains(r#""progressToken":0"#)));
    }
}
