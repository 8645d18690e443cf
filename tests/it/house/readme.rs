//! What the documents show can be done: every configuration, profile and command in them is
//! given to the real binary, which starts, finds its input at an end, and leaves in peace.
//!
//! Starting has no side effects, so no upstream is needed for that. The home folder that the
//! documents speak of is a temporary one.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use super::{blocks, files, root};

/// The variables that the documents speak of. Clients may fill them in themselves or hand them
/// on; here countersign does it.
const VARIABLES: [(&str, &str); 9] = [
    ("CLIENT_CERT", "pki/client.pem"),
    ("CLIENT_KEY", "pki/client.key"),
    ("TENANT_ID", "acme"),
    ("MCP_TOKEN", "a-token"),
    ("MCP_API_KEY", "a-key"),
    ("PROXY_PASSWORD", "a-password"),
    ("KEY_PASSPHRASE", "a-passphrase"),
    ("HMAC_SECRET", "a-shared-secret"),
    ("CREDENTIALS_DIRECTORY", "secrets"),
];

/// The other programs that the documents tell people to run.
const OTHERS: [&str; 23] = [
    "cargo",
    "just",
    "git",
    "claude",
    "certs/make",
    "benches/sidecar/run",
    "tests/matrix/run",
    "tests/sdk/run",
    "tests/verify/run",
    "tests/packages/run",
    "deploy/pack/plugin",
    "deploy/pack/mcpb",
    "deploy/pack/npm.mjs",
    "man",
    "install",
    ".ci/run",
    "kill",
    "openssl",
    "secret-tool",
    "docker",
    "kubectl",
    "systemctl",
    "tests/deploy/run",
];

/// The profiles that the documents speak of.
const PROFILES: &str = "[profile.corp]\nurl = 'https://mcp.example.com/mcp'\nbearer = 'env:MCP_TOKEN'\n\
                        [profile.inventory.env]\nDB_PASSWORD = { file = '~/secrets/token' }\n";

/// The documents, for people who use countersign and for those who change it.
fn documents() -> Vec<(PathBuf, String)> {
    let here = files(&root().join("docs")).into_iter().chain(
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "certs/README.md"]
            .map(|name| root().join(name)),
    );
    here.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// Runs `check` on each block in `language`; there is at least one.
fn each_block(language: &str, check: impl Fn(&str, &str)) {
    let mut count = 0;
    for (path, text) in documents() {
        for (line, block) in blocks(&text, language) {
            let name = path.strip_prefix(root()).unwrap().display();
            check(&format!("{name}:{line}"), block);
            count += 1;
        }
    }
    assert!(count > 0, "no {language} block in any document");
}

/// A home with what the documents say is in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path();
        for folder in ["pki", "certs/made", "bin", "plugin/servers", "secrets", ".config"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        for folder in ["pki", "certs/made"] {
            for (name, text) in [
                ("client.pem", &certificate),
                ("client.key", &key),
                ("server.pem", &certificate),
                ("server.key", &key),
                ("ca.pem", &certificate),
            ] {
                let path = at.join(folder).join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        let signing = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = "aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = a-key\n";
        fs::create_dir(at.join(".aws")).unwrap();
        for (name, text) in [
            ("secrets/signing.pem", signing.serialize_pem()),
            ("secrets/aws-key", "a-key\n".to_owned()),
            (".aws/credentials", format!("[default]\n{key}[mcp]\n{key}")),
        ] {
            fs::write(at.join(name), text).unwrap();
            fs::set_permissions(at.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(at.join("pki/client.p12"), pkcs12(&pair)).unwrap();
        fs::set_permissions(at.join("pki/client.p12"), fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = [("token", "a-token\n"), ("mcp.env", "APP_TOKEN=a-token\n")];
        for (name, text) in secrets {
            let path = at.join("secrets").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(at.join(".config/countersign.toml"), PROFILES).unwrap();
        symlink("/bin/true", at.join("bin/inventory-server")).unwrap();
        let binary = env!("CARGO_BIN_EXE_countersign");
        symlink(binary, at.join("bin/countersign")).unwrap();
        symlink(binary, at.join("plugin/servers/mtls-wrapper")).unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `program`, started in this home with nothing to read and nothing of our own environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.0.path())
            .env("CLAUDE_PLUGIN_ROOT", self.path("plugin"))
            .envs(VARIABLES)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }
}

/// The pair in one file, under the passphrase of the documents.
fn pkcs12(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Vec<u8> {
    let key = p12_keystore::PrivateKey::from_der(&pair.signing_key.serialize_der()).unwrap();
    let certificate = p12_keystore::Certificate::from_der(pair.cert.der()).unwrap();
    let chain = p12_keystore::PrivateKeyChain::new("1", key, [certificate]);
    let mut store = p12_keystore::KeyStore::new();
    store.add_entry("client", p12_keystore::KeyStoreEntry::PrivateKeyChain(chain));
    store.writer("a-passphrase").write().unwrap()
}

/// What `command` prints, which leaves with 0 and without a word of complaint.
fn succeeds(place: &str, mut command: Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{place}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{place}: {command:?}: {}: {complaint}", output.status);
    assert!(!complaint.contains("warning"), "{place}: {command:?}: {complaint}");
    output.stdout
}

/// `command` listens, and leaves in peace when it is told to.
fn serves(place: &str, mut command: Command) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("listening on") {
        assert_ne!(lines.read_line(&mut said).unwrap(), 0, "{place}: {command:?}: {said}");
    }
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    lines.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{place}: {said}");
    assert!(!said.contains("warning"), "{place}: {said}");
}

#[test]
fn client_configurations_start() {
    let home = Home::new();
    each_block("```json", |place, block| {
        let whole: Value =
            serde_json::from_str(block).unwrap_or_else(|error| panic!("{place}: {error}"));
        // With or without the key that some clients want around the servers.
        let servers = whole.get("mcpServers").unwrap_or(&whole);
        for (name, server) in servers.as_object().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            if let Some(helper) = server["headersHelper"].as_str() {
                let mut command = home.command(Path::new("/bin/sh"));
                command.args(["-c", helper]);
                let printed = succeeds(&format!("{place}: {name}"), command);
                let headers: Value = serde_json::from_slice(&printed).unwrap();
                assert!(headers.as_object().is_some_and(|it| !it.is_empty()), "{place}: {headers}");
                continue;
            }
            let program = text(&server["command"])
                .replace("${CLAUDE_PLUGIN_ROOT}", home.path("plugin").to_str().unwrap());
            let program =
                if program.contains('/') { program.into() } else { home.path("bin").join(program) };
            let mut command = home.command(&program);
            command.args(server["args"].as_array().into_iter().flatten().map(text));
            for (name, value) in server["env"].as_object().into_iter().flatten() {
                // Filled in by the client from its own environment.
                let value = match VARIABLES
                    .iter()
                    .find(|(known, _)| text(value) == format!("${{{known}}}"))
                {
                    Some((_, value)) => (*value).to_owned(),
                    None => text(value),
                };
                command.env(name, value);
            }
            succeeds(&format!("{place}: {name}"), command);
        }
    });
}

#[test]
fn profiles_load() {
    let home = Home::new();
    let file = home.path("countersign.toml");
    each_block("```toml", |place, block| {
        fs::write(&file, block).unwrap();
        let tables: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix("[profile.")?.strip_suffix(']'))
            .filter(|name| !name.contains('.') || name.ends_with(".env"))
            .collect();
        assert!(!tables.is_empty(), "{place}: no profile");
        for table in tables {
            let mut command = home.command(&home.path("bin/countersign"));
            let (name, then) = match table.strip_suffix(".env") {
                Some(name) => {
                    command.arg("exec");
                    (name, &["true"][..])
                }
                None => (table, &[][..]),
            };
            command.arg("--config").arg(&file).args(["--profile", name]).args(then);
            if block.contains("\nspiffe = ") {
                // It is read, and then there is no agent here, or no client of one in this build.
                let output = command.output().unwrap();
                let complaint = String::from_utf8_lossy(&output.stderr);
                assert!(complaint.contains("agent.sock (--spiffe)"), "{place}: {complaint}");
                continue;
            }
            succeeds(&format!("{place}: {table}"), command);
        }
    });
}

#[test]
fn commands_run() {
    let home = Home::new();
    fs::write(
        home.path("countersign.toml"),
        "[profile.default]\nurl = \"https://mcp.example.com/mcp\"\n[profile.staging]\nurl = \"https://a.example\"",
    )
    .unwrap();
    each_block("```sh", |place, block| {
        for line in block.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
            // What a client is told to start stands after `--`.
            let line = line
                .split_once(" -- countersign")
                .map_or(line.to_owned(), |(_, ours)| format!("countersign{ours}"));
            let program = line
                .split_whitespace()
                .find(|word| !word.split_once('=').is_some_and(|(name, _)| is_variable(name)))
                .unwrap();
            if line.contains("countersign serve") {
                // The ports of documents may be taken here.
                let line = line.replace("127.0.0.1:8080", "127.0.0.1:0");
                let line = line.replace("0.0.0.0:8443", "127.0.0.1:0");
                let mut command = home.command(Path::new("/bin/sh"));
                command.args(["-c", &format!("exec {line}")]);
                serves(&format!("{place}: {line}"), command);
            } else if program == "countersign" {
                let mut command = home.command(Path::new("/bin/sh"));
                command.args(["-c", &line]);
                succeeds(&format!("{place}: {line}"), command);
            } else {
                assert!(
                    OTHERS.contains(&program) || line.starts_with('#'),
                    "{place}: {program}: what is it?"
                );
            }
        }
    });
}

#[test]
fn what_troubleshooting_quotes_is_what_is_said() {
    let sources: String = files(&root().join("src"))
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap())
        // Strings that are broken over lines.
        .map(|text| text.split("\\\n").map(str::trim_start).collect::<String>())
        .collect();
    let text = fs::read_to_string(root().join("docs/TROUBLESHOOTING.md")).unwrap();
    let said = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    for quoted in said.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        for part in quoted.split("...").flat_map(|part| part.split("NAME")).map(str::trim) {
            assert!(sources.contains(part), "{quoted}: nothing says {part}");
        }
    }
}

#[test]
fn a_recipe_is_what_ci_runs() {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let recipes = fs::read_to_string(root().join("justfile")).unwrap();
    for name in ["fmt", "lint", "doc", "deny", "verify", "sdk", "packages"] {
        let (_, body) = recipes.split_once(&format!("\n{name}:\n")).unwrap();
        let command = body.lines().next().unwrap().trim();
        assert!(ci.contains(command), "{name} of the justfile is not in .ci/run: {command}");
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[test]
fn links_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = path.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
        }
    }
}
