//! The credential with real programs: what leaves with a request, and when they run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use http::header;

use super::{
    super::{Settings as All, authorization, headers::Header, stack, tests::held},
    *,
};

fn settings(script: &str) -> Settings {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let server = Server { name: "corp".to_owned(), url: "https://upstream/mcp".to_owned() };
    Settings::new(argv, None, server)
}

fn helper(script: &str) -> Arc<dyn Credential> {
    let all = All { helper: Some(settings(script)), ..All::default() };
    stack(&all).remove(0)
}

/// What a request with these headers leaves with.
async fn sent(
    stack: &[Arc<dyn Credential>],
    headers: &[(&'static str, &'static str)],
) -> Result<Vec<(String, String)>, Failure> {
    let mut request = Request::default();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    for credential in stack {
        credential.apply(&mut request).await?;
    }
    let text = |(name, value): (&HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    Ok(request.headers().iter().map(text).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A script that prints the line of a file whose number is that of its run.
fn in_turn(folder: &Path, lines: &[&str]) -> String {
    let (printed, runs) = (folder.join("lines"), folder.join("runs"));
    std::fs::write(&printed, lines.join("\n")).unwrap();
    let (printed, runs) = (printed.display(), runs.display());
    format!("echo >>{runs}; sed -n \"$(wc -l <{runs} | tr -d ' ')p\" {printed}")
}

#[tokio::test]
async fn it_is_told_which_server_the_headers_are_for() {
    let script = "printf '{\"X-Name\": \"%s\", \"X-Url\": \"%s\", \"X-Own\": \"%s\"}' \
                  \"$CLAUDE_CODE_MCP_SERVER_NAME\" \"$CLAUDE_CODE_MCP_SERVER_URL\" \
                  \"$COUNTERSIGN_URL\"";
    let mut sent = sent(&[helper(script)], &[]).await.unwrap();
    sent.sort();
    let url = "https://upstream/mcp";
    assert_eq!(sent, pairs(&[("x-name", "corp"), ("x-own", url), ("x-url", url)]));
}

#[tokio::test]
async fn its_headers_win_over_fixed_ones_and_over_the_callers() {
    let all = All {
        headers: vec![Header::new("X-A", "fixed").unwrap(), Header::new("X-A", "twice").unwrap()],
        helper: Some(settings("echo '{\"X-A\": \"printed\"}'")),
        ..All::default()
    };
    let caller = [("x-a", "caller"), ("x-a", "caller")];
    assert_eq!(sent(&stack(&all), &caller).await.unwrap(), pairs(&[("x-a", "printed")]));
}

#[tokio::test]
async fn what_it_prints_no_more_does_not_come_from_the_caller_either() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["{\"X-A\": \"a\", \"X-B\": \"b\", \"X-F\": \"f\"}", "{\"X-A\": \"a\"}"];
    let all = All {
        headers: vec![Header::new("X-F", "fixed").unwrap()],
        helper: Some(settings(&in_turn(folder.path(), &lines))),
        ..All::default()
    };
    let stack = stack(&all);
    let caller = [("x-b", "caller")];
    let expected = pairs(&[("x-b", "b"), ("x-f", "f"), ("x-a", "a")]);
    let mut first = sent(&stack, &caller).await.unwrap();
    first.sort_by_key(|pair| expected.iter().position(|it| it == pair));
    assert_eq!(first, expected);
    let (refused, ()) = http::Response::builder().status(403).body(()).unwrap().into_parts();
    assert!(stack[1].refused(1, &refused).await);
    let mut second = sent(&stack, &caller).await.unwrap();
    second.sort();
    assert_eq!(second, pairs(&[("x-a", "a"), ("x-f", "fixed")]));
}

#[tokio::test]
async fn the_header_of_another_credential_is_refused_and_both_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let token = held(&folder.path().join("token"), "canary");
    let all = All {
        helper: Some(settings("echo '{\"authorization\": \"canary\"}'")),
        authorization: Some(authorization::Settings::Bearer(token)),
        ..All::default()
    };
    all.check().unwrap();
    let failure = sent(&stack(&all), &[]).await.unwrap_err();
    assert_eq!(failure.stage(), Stage::Credential);
    assert_eq!(
        failure.what(),
        "the headers helper sh ... printed the header authorization, which --bearer sets"
    );
    assert!(!format!("{failure:?}").contains("canary"));
}

#[tokio::test]
async fn only_401_and_403_make_it_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["{\"X-A\": \"1\"}", "{\"X-A\": \"2\"}", "{\"X-A\": \"3\"}", "canary"];
    let helper = helper(&in_turn(folder.path(), &lines));
    let now = async || sent(&[Arc::clone(&helper)], &[]).await.unwrap();
    assert_eq!(now().await, pairs(&[("x-a", "1")]));
    for (status, generation, again, value) in [
        (500, 1, false, "1"),
        (404, 1, false, "1"),
        (401, 1, true, "2"),
        (401, 1, true, "2"),
        (403, 2, true, "3"),
        (403, 3, false, "3"),
    ] {
        let response = http::Response::builder().status(status).body(()).unwrap();
        let (parts, ()) = response.into_parts();
        assert_eq!(helper.refused(generation, &parts).await, again, "{status}");
        assert_eq!(now().await, pairs(&[("x-a", value)]), "{status}");
    }
}

#[tokio::test]
async fn the_shortest_of_the_times_counts() {
    for (ttl, printed, lifetime) in [
        (None, "{\"X-A\": \"x\"}", None),
        (Some(60), "{\"X-A\": \"x\"}", Some(60)),
        (None, "{\"X-A\": \"x\", \"expires_in\": 300}", Some(300)),
        (Some(60), "{\"X-A\": \"x\", \"expires_in\": 300}", Some(60)),
        (Some(600), "{\"X-A\": \"x\", \"expires_in\": 300}", Some(300)),
    ] {
        let mut settings = settings(&format!("echo '{printed}'"));
        settings.ttl = ttl.map(Duration::from_secs);
        let helper = Helper::new(settings, Others::new(&[], &[]));
        let fetched = helper.run().await.unwrap();
        assert_eq!(fetched.lifetime, lifetime.map(Duration::from_secs), "{ttl:?} {printed}");
    }
}

#[tokio::test]
async fn a_run_that_fails_still_knows_what_was_secret() {
    let folder = tempfile::tempdir().unwrap();
    let script = in_turn(folder.path(), &["{\"X-A\": \"Bearer canary\"}", "{\"X-A\": \"b"]);
    let helper = Helper::new(settings(&script), Others::new(&[], &[]));
    helper.run().await.unwrap();
    let failure = helper.run().await.err().unwrap();
    assert!(failure.what().contains("breaks off"), "{failure}");
    let known = helper.known();
    assert!(known.secrets.iter().any(|secret| ***secret == *b"canary"));
}

#[test]
fn debug_shows_no_argument() {
    let shown = format!("{:?}", settings("echo canary"));
    assert!(shown.contains("the headers helper sh ...") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_fixed_authorization_gives_way() {
    let all = All {
        headers: vec![Header::new("Authorization", "fixed").unwrap()],
        helper: Some(settings("echo '{\"Authorization\": \"printed\"}'")),
        ..All::default()
    };
    let sent = sent(&stack(&all), &[]).await.unwrap();
    assert_eq!(sent, pairs(&[(header::AUTHORIZATION.as_str(), "printed")]));
}
