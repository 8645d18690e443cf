//! AWS signatures: every request has one of its own, made with the keys there are; keys that were
//! replaced or refused are read again, and without keys nothing leaves. Whether the signatures
//! hold is for tests/verify to say.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Program, values};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::Countersign,
    refusal::Refusal,
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

const SCOPE: &str = "aws:amz:eu-west-1:execute-api";

/// `~/.aws/credentials` with one access key.
fn keys(home: &Path, id: &str) -> PathBuf {
    let folder = home.join(".aws");
    fs::create_dir_all(&folder).unwrap();
    write(
        &folder.join("credentials"),
        &format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = s3cret/canary\n\n"),
    )
}

fn write(path: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;

    // Nobody reads half of it.
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(next, path).unwrap();
    path.to_owned()
}

fn bridge(pki: &Pki, upstream: &Upstream, home: &Path) -> Countersign {
    Client::bridge(pki, upstream).args(["--aws-sigv4", SCOPE]).env("HOME", home)
}

/// With which access key a request was signed.
fn signer(seen: &Seen) -> String {
    let [authorization] = values(seen, "authorization")[..] else { panic!("{seen:?}") };
    let rest = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

fn signers(upstream: &Upstream) -> Vec<String> {
    upstream.posts("tools/call").iter().map(signer).collect()
}

#[test]
fn every_request_is_signed_for_itself() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let bridge = bridge(&pki, &upstream, home.path())
        .env("AWS_ACCESS_KEY_ID", "ASIAENVIRONMENT")
        .env("AWS_SECRET_ACCESS_KEY", "s3cret/canary")
        .env("AWS_SESSION_TOKEN", "s3ssion/canary==");
    let mut client = Client::start(&bridge);
    client.handshake();
    upstream.wait_for_listener();
    client.tool("echo", json!({"text": "a"}));
    client.tool("echo", json!({"text": "b"}));
    assert_eq!(client.finish(), [] as [Value; 0]);
    let seen = upstream.seen();
    assert!(seen.len() >= 5, "{}", seen.len());
    let mut signatures = Vec::new();
    for seen in &seen {
        assert_eq!(signer(seen), "ASIAENVIRONMENT");
        let authorization = values(seen, "authorization")[0];
        let today = values(seen, "x-amz-date")[0].split('T').next().unwrap();
        let scope = format!("/{today}/eu-west-1/execute-api/aws4_request, SignedHeaders=");
        assert!(authorization.contains(&scope), "{authorization}");
        assert!(authorization.contains("host;x-amz-date;x-amz-security-token, Sig"));
        assert_eq!(values(seen, "x-amz-security-token"), ["s3ssion/canary=="]);
        assert!(values(seen, "x-amz-content-sha256").is_empty());
        signatures.push(authorization.to_owned());
    }
    signatures.sort_unstable();
    signatures.dedup();
    assert_eq!(signatures.len(), seen.len(), "no two requests are the same");
}

#[test]
fn keys_that_were_replaced_are_read_again_when_the_old_ones_are_refused() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    keys(home.path(), "AKIDFIRST");
    let mut client = Client::start(&bridge(&pki, &upstream, home.path()));
    client.handshake();
    let folder = home.path().to_owned();
    let refused = move |seen: &Seen| {
        let first = seen.tool().is_some() && signer(seen) == "AKIDFIRST";
        if first {
            keys(&folder, "AKIDSECOND");
        }
        first
    };
    upstream.script(Rule::matching(refused).always(), Fault::status(403));
    assert_eq!(client.tool("count", json!({"n": 1}))["times"], 1);
    assert_eq!(signers(&upstream), ["AKIDFIRST", "AKIDSECOND"]);
    assert_eq!(client.finish(), [] as [Value; 0]);
}

#[test]
fn a_broken_file_leaves_the_last_keys_in_use_and_is_complained_of_once() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let file = keys(home.path(), "AKIDFIRST");
    let process = bridge(&pki, &upstream, home.path()).start();
    let mut client = Client::over(process);
    client.handshake();
    write(&file, "[default]\naws_access_key_id = AKIDHALF\naws_secret_a");
    upstream.script(Rule::call("count").times(2), Fault::status(403));
    for n in 1..=2 {
        let id = client.call("count", json!({"n": n}));
        Refusal::of(&client.error(&id)).says("response", &["403"], "");
    }
    assert_eq!(client.tool("count", json!({"n": 3}))["times"], 1);
    assert_eq!(signers(&upstream), ["AKIDFIRST"; 3]);
    let said = client.process.stderr();
    assert_eq!(said.matches("; the last keys stay in use").count(), 1, "{said}");
    assert!(said.contains("line 3 is no section and no setting") && !said.contains("canary"));
}

/// The program's second run waits until all twenty have been refused.
#[test]
fn keys_of_a_program_are_fetched_once_for_all_who_were_refused() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let script = "n=$(wc -l <runs | tr -d ' ')\n\
                  if [ $n -gt 1 ]; then until [ -e all ]; do sleep 0.01; done; fi\n\
                  echo '{\"Version\": 1, \"AccessKeyId\": \"ASIA'$n'\", \"SecretAccessKey\": \
                  \"s3cret/canary\", \"SessionToken\": \"t\"}'";
    let program = Program::new(home.path(), script);
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = format!("[profile mcp]\ncredential_process = '{}' arg\n", program.path.display());
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let bridge =
        bridge(&pki, &upstream, home.path()).env("AWS_PROFILE", "mcp").env("PATH", "/usr/bin:/bin");
    let mut client = Client::start(&bridge);
    client.handshake();
    upstream.wait_for_listener();
    assert_eq!(program.runs(), 1);
    upstream.script(Rule::matching(|seen| signer(seen) == "ASIA1").always(), Fault::status(403));
    let calls: Vec<Value> = (0..20).map(|n| client.call("count", json!({"n": n}))).collect();
    upstream.wait("twenty refusals", |record| {
        let calls = record.requests.iter().filter(|seen| seen.tool().is_some());
        (calls.count() == 20).then_some(())
    });
    fs::write(home.path().join("all"), "").unwrap();
    calls.iter().for_each(|id| drop(client.result(id)));
    assert_eq!(program.runs(), 2);
    assert!((0..20).all(|n| upstream.ran(n) == 1));
    assert!(signers(&upstream)[20..].iter().all(|id| id == "ASIA2"));
}

#[test]
fn without_keys_nothing_leaves_and_every_source_is_named() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    let refusal = Refusal::of_initialize(&bridge(&pki, &upstream, home.path()));
    let what =
        ["--aws-sigv4: ", "AWS_ACCESS_KEY_ID is not set", "/.aws/credentials", "/.aws/config"];
    refusal.says("configuration", &what, "aws configure export-credentials");

    let program = Program::new(home.path(), "echo '{\"Version\": 1, \"canary\": 1}'");
    fs::create_dir(home.path().join(".aws")).unwrap();
    let config = format!("[default]\ncredential_process = {}\n", program.path.display());
    fs::write(home.path().join(".aws/config"), config).unwrap();
    let refusal = Refusal::of_initialize(&bridge(&pki, &upstream, home.path()));
    let what = "the credential_process of the AWS profile default printed something other than";
    refusal.says("credential", &[what], "Version 1");
    assert!(!format!("{refusal:?}").contains("canary"));
    assert_eq!(upstream.record().connections.len(), 0);
}

#[test]
fn what_is_signed_for_is_asked_for_where_the_host_does_not_tell() {
    let (pki, home) = (Pki::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::mutual(&pki);
    keys(home.path(), "AKIDFIRST");
    for (flag, what, hint) in [
        ("aws:amz", "expected an AWS region, found none", "aws:amz:eu-west-1:execute-api"),
        ("aws:amz:eu-west-1", "expected an AWS service, found none", "execute-api"),
        ("goog:amz", "expected the provider aws:amz", "aws:amz:REGION:SERVICE"),
        (
            "region=eu-west-1,service=s3,secret_access_key=canary",
            "expected a reference",
            "env:NAME",
        ),
    ] {
        let program = Client::bridge(&pki, &upstream).args(["--aws-sigv4", flag]);
        let refusal = Refusal::of_initialize(&program.env("HOME", home.path()));
        refusal.says("configuration", &[what], hint);
        assert!(!format!("{refusal:?}").contains("canary"));
    }
    let both = bridge(&pki, &upstream, home.path()).args(["--bearer", "env:TOKEN"]);
    let refusal = Refusal::of_initialize(&both.env("TOKEN", "canary"));
    refusal.says("configuration", &["sets the header authorization already"], "one owner");
}
