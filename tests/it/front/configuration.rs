//! A configuration that does not hold is told to the client, which shows answers and hardly ever
//! what is on stderr; then exit 78. A command line that can't be read is exit 2.

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    process::{Countersign, DEADLINE, Front},
};

const URL: &str = "https://127.0.0.1:9/mcp";

#[test]
fn requests_are_answered_with_what_is_wrong_until_the_end() {
    for (arguments, named) in [
        (&["--bearer", "env:UNSET_TOKEN", URL][..], "UNSET_TOKEN"),
        (&["--header", "X-Tenant: ${UNSET_TENANT}", URL], "UNSET_TENANT"),
        (&["--cert", "/nowhere/client.pem", URL], "/nowhere/client.pem"),
        (&["--cacert", "/nowhere/ca.pem", URL], "/nowhere/ca.pem"),
        (&["--config", "/nowhere/c.toml", URL], "/nowhere/c.toml"),
        (&["http://example.com/mcp"], "https"),
        (&[], "API_URL"),
    ] {
        let mut client = Client::start(&Countersign::new().args(arguments));
        let opening = client.initialize("2025-11-25");
        let error = client.error(&opening);
        assert_eq!(error["data"]["stage"], "configuration");
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
        client.notify("notifications/initialized", Value::Null);
        client.send("{nope");
        assert_eq!(client.error(&Value::Null)["code"], -32_700);
        client.send(r#"[{"jsonrpc":"2.0","id":7,"method":"ping"},{"jsonrpc":"2.0","id":8,"method":"ping"}]"#);
        for id in [7, 8] {
            assert_eq!(client.error(&json!(id))["message"], error["message"]);
        }
        assert!(client.process.is_running());
        client.process.close_stdin();
        assert_eq!(client.process.wait_exit(DEADLINE).code(), Some(78));
        assert_eq!(client.unclaimed(), [] as [Value; 0]);
        assert!(client.process.stderr().contains(named), "{}", client.process.stderr());
    }
}

#[test]
fn a_person_reads_it_on_stderr_and_is_not_kept_waiting() {
    let mut process =
        Countersign::to(URL).args(["--cert", "/nowhere/c.pem"]).front(Front::Terminal).start();
    assert_eq!(process.wait_exit(DEADLINE).code(), Some(78));
    let stderr = process.stderr();
    assert!(stderr.starts_with("countersign: error: ") && stderr.contains("/nowhere/c.pem"));
    assert!(process.stdout().is_empty());
}

#[test]
fn a_parent_that_dies_ends_the_refusals_too() {
    let program = Countersign::to(URL).args(["--bearer", "env:UNSET"]).under_a_parent();
    let mut client = Client::start(&program);
    let id = client.request("ping", Value::Null);
    client.error(&id);
    client.process.kill_parent();
    client.process.wait_gone(DEADLINE);
}

#[test]
fn a_command_line_that_cannot_be_read_is_exit_2() {
    for arguments in [&["--no-such-flag", URL][..], &["--http", "3", URL], &[URL, URL]] {
        let mut process = Countersign::new().args(arguments).start();
        assert_eq!(process.wait_exit(DEADLINE).code(), Some(2), "{arguments:?}");
        assert!(process.stdout().is_empty(), "stdout is for messages");
        assert!(process.stderr().contains("error:"), "{}", process.stderr());
    }
}

#[test]
fn help_and_version_are_what_was_asked_for() {
    for flag in ["--help", "--version"] {
        let mut process = Countersign::new().arg(flag).start();
        assert!(process.wait_exit(DEADLINE).success());
        assert!(process.stdout().contains("countersign"));
        assert!(process.stderr().is_empty());
    }
}
