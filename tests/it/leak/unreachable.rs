//! An upstream that can't be had any more: nobody listens, its certificate is of another CA, or it
//! refuses ours. The errors that say so name files and certificates, and no secret of the session.

use serde_json::json;

use super::{
    Canary, FORMATS, loud,
    made::{self, Signer},
    passphrase,
};
use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    upstream::Upstream,
};

/// Opens the identity of every session here, and is a secret of its own.
const PASSPHRASE: &str = "Hq8-passphrase-Vn3-of-pkcs12-Tz6";

impl Signer {
    #[track_caller]
    fn is_unsaid_without_an_upstream(&self, format: &str) {
        let (pki, elsewhere) = (Pki::new(), Pki::new());
        let upstream = Upstream::mutual(&pki);
        let program = Countersign::to(&upstream.url()).cacert(&pki.ca);
        let program = program.arg("--pkcs12").arg(passphrase::packed(&pki, PASSPHRASE));
        let program = program.args(["--pkcs12-passphrase", "env:PASSPHRASE"]);
        let program = self.given_to(program.env("PASSPHRASE", PASSPHRASE), pki.path());
        let mut client = Client::start(&loud(program, format));
        client.handshake();

        upstream.down();
        assert_eq!(stage(&mut client), "connect", "{}", self.lines);
        upstream.up();
        for (server, clients) in [(&elsewhere.server, &pki.ca), (&pki.server, &elsewhere.ca)] {
            upstream.rotate(server, clients);
            upstream.drop_connections();
            assert_eq!(stage(&mut client), "tls", "{}", self.lines);
        }
        client.process.close_stdin();
        client.process.wait_exit(DEADLINE);

        let seen = upstream.seen();
        let made: Vec<&str> = seen.iter().flat_map(self.made).collect();
        assert!(!made.is_empty(), "requests are signed: {seen:?}");
        let keys = self.keys.iter().map(String::as_str);
        Canary::of(keys.chain(made).chain([PASSPHRASE])).assert_unsaid(&client.process);
    }
}

/// The stage at which a call fails.
#[track_caller]
fn stage(client: &mut Client) -> String {
    let id = client.call("echo", json!({}));
    client.error(&id)["data"]["stage"].as_str().unwrap().to_owned()
}

/// What goes upstream as it is.
fn carried(lines: &'static str, name: &'static str, text: &str) -> Signer {
    let made: made::Made = |seen| {
        assert_eq!(seen.header("x-carried"), Some(Canary::TEXT), "{seen:?}");
        vec![Canary::TEXT]
    };
    Signer { lines, files: vec![(name, text.to_owned())], keys: Vec::new(), made }
}

fn printed_by_a_helper() -> Signer {
    let script = "#!/bin/sh\necho 'asked' >&2\necho '{\"X-Carried\": \"CANARY\"}'\n";
    carried("headers_helper = ['FOLDER/helper']", "helper", script)
}

fn in_a_file_of_variables() -> Signer {
    let lines = "env_file = 'FOLDER/mcp.env'\napi_key = { X-Carried = 'env:OF_FILE' }";
    carried(lines, "mcp.env", "OF_FILE='CANARY'\n")
}

/// With AWS's keys from files as these.
fn of_aws(lines: &'static str, files: &[(&'static str, &str)]) -> Signer {
    let mut signer = Signer::with_shared_secret(lines, |seen| {
        let value = seen.header("authorization").unwrap();
        vec![
            value.split_once("Signature=").unwrap().1,
            seen.header("x-amz-security-token").unwrap(),
        ]
    });
    signer.files = files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    signer
}

fn with_references_for_aws() -> Signer {
    let lines = "[profile.test.aws_sigv4]\nregion = 'eu-west-1'\nservice = 'execute-api'\n\
                 access_key_id = 'AKIDEXAMPLE'\nsecret_access_key = 'file:FOLDER/key'\n\
                 session_token = 'file:FOLDER/token'";
    of_aws(lines, &[("key", "CANARY"), ("token", "IQoJb3JpZ2luX2VjE7y//w+session==")])
}

fn with_a_process_for_aws() -> Signer {
    let lines = "aws_sigv4 = { region = 'eu-west-1', service = 'execute-api',
                               credentials_file = 'FOLDER/none', config_file = 'FOLDER/config' }";
    let prints = "#!/bin/sh\necho '{\"Version\": 1, \"AccessKeyId\": \"AKIDEXAMPLE\", \
                  \"SecretAccessKey\": \"CANARY\", \
                  \"SessionToken\": \"IQoJb3JpZ2luX2VjE7y//w+session==\"}'\n";
    let config = "[default]\ncredential_process = FOLDER/process\n";
    of_aws(lines, &[("process", prints), ("config", config)])
}

#[test]
fn no_kind_of_secret_is_said_when_the_upstream_cannot_be_had() {
    for kind in [
        printed_by_a_helper(),
        in_a_file_of_variables(),
        made::token_of_many_requests(),
        made::token_of_one_request(),
        made::code_by_a_preset(),
        made::signature_by_a_private_key(),
        made::signature_by_a_shared_secret(),
        with_references_for_aws(),
        with_a_process_for_aws(),
    ] {
        for format in FORMATS {
            kind.is_unsaid_without_an_upstream(format);
        }
    }
}
