//! What was said on the command line, and nothing about what it means.
//!
//! Every value is kept as the text it was given as: `config` gives it meaning, together with the
//! profile and the environment. No flag takes a secret itself, and what clap says about a command
//! line is cleaned here of stray words, since a token that lost its quotes is one of them.

mod serve;

pub use self::serve::Serve;

use std::ffi::OsString;

use clap::{
    ArgAction, Args, CommandFactory as _, Parser, Subcommand,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

const EXAMPLES: &str = "\
References (REF) say where a secret is, so that none stands on a command line:
  env:NAME            a variable of the environment
  file:PATH           a file, read again when it changes
  command:PROG ARG    what a program prints
  keyring:SERVICE/ACC an entry of the desktop's keyring, where the build has it

${NAME} and ${NAME:-default} in URLs, headers, paths and names are filled in from the environment.

Examples:
  countersign --cert client.pem --key client.key https://mcp.example.com/mcp
  countersign --bearer env:TOKEN --header 'X-Tenant: ${TENANT_ID}' https://mcp.example.com/mcp
  countersign --config corp.toml --profile staging
  countersign exec --config corp.toml -- my-mcp-server --stdio
  countersign demo";

const ABOUT: &str = "\
MCP over stdio in, mTLS and credentials out: carries every message of the MCP client that
started it, on stdin and stdout, to a remote MCP server over HTTPS.";

/// A command line.
#[derive(Parser)]
#[command(
    name = "countersign",
    about = ABOUT,
    // The same words under any name: the program is often linked as `mtls-wrapper`.
    bin_name = "countersign",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    override_usage = "countersign [OPTIONS] [URL]\n       \
                      countersign serve [OPTIONS] [URL] --listen ADDR\n       \
                      countersign headers [OPTIONS] [URL]\n       \
                      countersign exec [--config FILE] [--profile NAME] -- COMMAND...\n       \
                      countersign demo [--stdio]",
)]
pub struct Cli {
    /// What to do; the stdio bridge where nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What the bridge is told.
    #[command(flatten)]
    pub bridge: Bridge,
    /// What is said on stderr.
    #[command(flatten)]
    pub diagnostics: Diagnostics,
}

/// The commands besides the bridge.
#[derive(Subcommand)]
pub enum Command {
    /// A tour that needs nothing: an mTLS gateway, an MCP server and the bridge between
    Demo(Demo),
    /// A reverse proxy beside a workload: HTTP in on this machine, mTLS and credentials out
    #[command(override_usage = "countersign serve [OPTIONS] [URL] --listen ADDR")]
    Serve(Box<Serve>),
    /// Print the headers that a request would get, as one JSON object
    #[command(override_usage = "countersign headers [OPTIONS] [URL]")]
    Headers(Box<Bridge>),
    /// Start a local server with the variables of [profile.NAME.env] in its environment
    #[command(override_usage = "countersign exec [--config FILE] [--profile NAME] -- COMMAND...")]
    Exec(Exec),
}

/// The names of the commands.
const COMMANDS: [&str; 4] = ["demo", "serve", "headers", "exec"];

/// The flags of the demo.
#[derive(Args)]
pub struct Demo {
    /// Be a stdio MCP server for any client to be pointed at
    #[arg(long)]
    pub stdio: bool,
}

/// The flags of `exec`, and what it starts.
#[derive(Args)]
pub struct Exec {
    /// The program and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
    /// Where the profile is.
    #[command(flatten)]
    pub files: Files,
}

/// The files that say the rest.
#[derive(Args, Default)]
#[command(next_help_heading = "Configuration file")]
pub struct Files {
    /// File of profiles, TOML [default: $COUNTERSIGN_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,
    /// The profile to use [default: the only one, or the one named default]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// File of variables, .env, for templates and env: references
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<String>,
}

/// The flags of the bridge, as they were written.
#[derive(Args, Default)]
pub struct Bridge {
    /// The MCP server [default: url of the profile, then $API_URL]
    #[arg(value_name = "URL")]
    pub url: Option<String>,

    /// Client certificate and its chain, PEM; may hold the key as well
    #[arg(long, value_name = "FILE", help_heading = "Client certificate")]
    pub cert: Option<String>,
    /// Private key, PEM or pkcs11:... [default: in the file of --cert]
    #[arg(long, value_name = "FILE", help_heading = "Client certificate")]
    pub key: Option<String>,
    /// Passphrase of an encrypted key, or PIN of its token
    #[arg(long, value_name = "REF", help_heading = "Client certificate")]
    pub key_passphrase: Option<String>,
    /// Client certificate, chain and key in one PKCS#12 file (.p12, .pfx)
    #[arg(long, value_name = "FILE", help_heading = "Client certificate")]
    pub pkcs12: Option<String>,
    /// Passphrase of the PKCS#12 file
    #[arg(long, value_name = "REF", help_heading = "Client certificate")]
    pub pkcs12_passphrase: Option<String>,
    /// Library of the token, PKCS#11 [default: $PKCS11_MODULE_PATH]
    #[arg(long, value_name = "FILE", help_heading = "Client certificate")]
    pub pkcs11_module: Option<String>,
    /// SPIFFE agent that gives identity and roots: unix:PATH or agent
    #[arg(long, value_name = "SOCKET", help_heading = "Client certificate")]
    pub spiffe: Option<String>,

    /// Trust exactly these roots, PEM; repeatable
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub cacert: Vec<String>,
    /// Trust the system's roots besides those of --cacert
    #[arg(long, help_heading = "Trust")]
    pub system_roots: bool,
    /// Accept only these server keys: sha256//BASE64[;sha256//BASE64...]
    #[arg(long, value_name = "PINS", help_heading = "Trust")]
    pub pinnedpubkey: Option<String>,
    /// The name in the server's certificate, where it is not the URL's host
    #[arg(long, value_name = "NAME", help_heading = "Trust")]
    pub server_name: Option<String>,
    /// The server's SPIFFE id, checked in place of its name
    #[arg(long, value_name = "ID", help_heading = "Trust")]
    pub server_spiffe_id: Option<String>,
    /// Oldest TLS version [default: 1.2]
    #[arg(long, value_name = "VERSION", value_parser = ["1.2", "1.3"], help_heading = "Trust")]
    pub tls_min: Option<String>,

    /// Header to add, 'Name: value'; repeatable
    #[arg(long, value_name = "HEADER", help_heading = "Credentials")]
    pub header: Vec<String>,
    /// Authorization: Bearer, the token from a reference
    #[arg(long, value_name = "REF", help_heading = "Credentials")]
    pub bearer: Option<String>,
    /// Authorization: Basic, the password from a reference
    #[arg(long, value_name = "USER:REF", help_heading = "Credentials")]
    pub basic: Option<String>,
    /// API key, in X-API-Key or the header NAME; repeatable
    #[arg(long, value_name = "[NAME=]REF", help_heading = "Credentials")]
    pub api_key: Vec<String>,
    /// Program that prints headers as one JSON object
    #[arg(long, value_name = "COMMAND", help_heading = "Credentials")]
    pub headers_helper: Option<String>,
    /// Token minted here: alg=ES256,key=REF,iss=...,aud=...
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = "Credentials")]
    pub jwt: Option<String>,
    /// Code over the request: preset=NAME,key=REF,...
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = "Credentials")]
    pub hmac: Option<String>,
    /// Signature of RFC 9421: alg=NAME,key=REF,keyid=...
    #[arg(long, value_name = "NAME=VALUE,...", help_heading = "Credentials")]
    pub http_signature: Option<String>,
    /// AWS signature, as curl has it: aws:amz:REGION:SERVICE
    #[arg(long, value_name = "AWS:AMZ:...", help_heading = "Credentials")]
    pub aws_sigv4: Option<String>,

    /// HTTP version [default: auto]
    #[arg(long, value_name = "VERSION", value_parser = ["auto", "1.1", "2"], help_heading = "Connection")]
    pub http: Option<String>,
    /// The client's era of MCP: modern or legacy [default: auto]
    #[arg(long, value_name = "ERA", value_parser = ["auto", "modern", "legacy"], hide_possible_values = true, help_heading = "Connection")]
    pub protocol: Option<String>,
    /// Proxy to go through [default: $HTTPS_PROXY, else $ALL_PROXY]
    #[arg(long, value_name = "URL", help_heading = "Connection")]
    pub proxy: Option<String>,
    /// Who we are to the proxy, the password from a reference
    #[arg(long, value_name = "USER:REF", help_heading = "Connection")]
    pub proxy_user: Option<String>,
    /// Time to connect in, TLS included: 10, 500ms [default: 10s]
    #[arg(long, value_name = "TIME", help_heading = "Connection")]
    pub connect_timeout: Option<String>,
    /// Time without a byte after which a call is given up [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Connection")]
    pub idle_timeout: Option<String>,
    /// The largest message to carry: bytes, KiB, MiB, GiB [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Connection")]
    pub max_message: Option<String>,

    /// File that gets one line of JSON for each request, for its owner alone
    #[arg(long, value_name = "FILE", help_heading = "Diagnostics")]
    pub audit_log: Option<String>,

    /// The files that say the rest.
    #[command(flatten)]
    pub files: Files,
}

/// What is said on stderr; known before the rest of the configuration is.
#[derive(Args, Default)]
pub struct Diagnostics {
    /// Say more on stderr; repeatable
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Diagnostics")]
    pub verbose: u8,
    /// Show requests and responses, values redacted, and timings
    #[arg(long, global = true, help_heading = "Diagnostics")]
    pub debug: bool,
    /// How to write it [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"], global = true, help_heading = "Diagnostics")]
    pub log_format: Option<String>,
}

/// Flags that people know from elsewhere, and what they are here.
const HABITS: [(&[&str], &str); 8] = [
    (
        &["--insecure", "-k", "--allow-http", "--no-verify"],
        "there is no way around verification: --cacert FILE trusts the server's own authority, \
         --pinnedpubkey 'sha256//...' its key",
    ),
    (&["-H", "--headers"], "--header 'Name: value' adds a header"),
    (&["--token", "--bearer-token", "--oauth2-bearer"], "--bearer env:NAME sends a bearer token"),
    (&["-u", "--user", "--password"], "--basic USER:env:NAME sends a user and a password"),
    (&["-E", "--client-cert"], "--cert FILE is the client certificate"),
    (&["--pass", "--passphrase"], "--key-passphrase env:NAME opens an encrypted key"),
    (&["--p12", "--pfx"], "--pkcs12 FILE is certificate and key in one file"),
    (&["-x"], "--proxy URL is the proxy"),
];

impl Cli {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// What clap says of it, `--help` and `--version` included: print it, and exit with the code
    /// it names. It quotes no word that may be a secret.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let said = Self::try_parse_from(arguments).map_err(clean)?;
        // After a flag, clap takes the command's name for the URL.
        if let Some(command) = COMMANDS.iter().find(|it| said.bridge.url.as_deref() == Some(**it)) {
            let what = format!("{command} comes first, its flags after it: countersign {command}");
            return Err(Self::command().error(ErrorKind::ArgumentConflict, what));
        }
        Ok(said)
    }
}

/// The error without the words it quotes, and with a tip where we know what was meant.
fn clean(mut error: clap::Error) -> clap::Error {
    let tip = |text: &str| ContextValue::StyledStrs(vec![StyledStr::from(text.to_owned())]);
    match error.kind() {
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => {
            let flag = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(flag)) if flag.starts_with('-') => flag.clone(),
                _ => return stray_word(),
            };
            let known = HABITS.iter().find(|(flags, _)| flags.contains(&flag.as_str()));
            if let Some((_, meant)) = known {
                error.remove(ContextKind::SuggestedArg);
                error.insert(ContextKind::Suggested, tip(meant));
            }
            error
        }
        // clap takes any second word for a subcommand that came too late.
        ErrorKind::ArgumentConflict if error.get(ContextKind::InvalidSubcommand).is_some() => {
            stray_word()
        }
        ErrorKind::TooManyValues => {
            error.insert(ContextKind::InvalidValue, ContextValue::String("...".to_owned()));
            error
        }
        _ => error,
    }
}

/// A second word without a flag: most often the rest of a value that lost its quotes.
fn stray_word() -> clap::Error {
    Cli::command().error(
        ErrorKind::UnknownArgument,
        "expected at most one URL besides the flags, found another word (not shown, as it may be \
         a secret)\n\n  tip: quote a value that has blanks, as in --header 'X-Tenant: acme'",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn read(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::read(line.iter().map(OsString::from))
    }

    fn refusal(line: &[&str]) -> String {
        read(line).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_url_is_the_bridge_and_demo_is_the_demo() {
        let url = "https://mcp.example.com/mcp";
        let bridge = read(&["countersign", "--cert", "c.pem", url]).unwrap();
        assert!(bridge.command.is_none());
        assert_eq!(bridge.bridge.url.as_deref(), Some(url));

        let nothing = read(&["countersign"]).unwrap();
        assert!(nothing.command.is_none() && nothing.bridge.url.is_none());

        for (line, expected) in
            [(&["countersign", "demo"][..], false), (&["countersign", "demo", "--stdio"], true)]
        {
            let demo = read(line).unwrap();
            assert!(
                matches!(demo.command, Some(Command::Demo(Demo { stdio })) if stdio == expected)
            );
        }
    }

    #[test]
    fn headers_takes_what_the_bridge_takes() {
        let line = ["countersign", "headers", "-v", "--bearer", "env:T", "https://a.example"];
        let said = read(&line).unwrap();
        let Some(Command::Headers(bridge)) = said.command else { panic!() };
        assert_eq!(bridge.bearer.as_deref(), Some("env:T"));
        assert_eq!(bridge.url.as_deref(), Some("https://a.example"));
        assert_eq!(said.diagnostics.verbose, 1);
        assert!(said.bridge.url.is_none());
    }

    #[test]
    fn exec_takes_its_own_flags_up_to_the_command_and_none_of_the_bridge() {
        for line in [
            &["countersign", "exec", "--profile", "p", "--", "npx", "-y", "--profile", "q"][..],
            &["countersign", "exec", "--profile", "p", "npx", "-y", "--profile", "q"],
        ] {
            let Some(Command::Exec(exec)) = read(line).unwrap().command else { panic!() };
            assert_eq!(exec.files.profile.as_deref(), Some("p"));
            assert_eq!(exec.command, ["npx", "-y", "--profile", "q"]);
        }
        for line in [
            &["countersign", "exec"][..],
            &["countersign", "exec", "--profile", "p", "--"],
            &["countersign", "exec", "--bearer", "env:T", "--", "npx"],
            &["countersign", "--bearer", "env:T", "exec", "--", "npx"],
        ] {
            assert_eq!(read(line).map(|_| ()).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }

    #[test]
    fn the_demo_comes_first_and_takes_the_diagnostics_alone() {
        let demo = read(&["countersign", "demo", "-vv"]).unwrap();
        assert!(matches!(demo.command, Some(Command::Demo(_))));
        assert_eq!(demo.diagnostics.verbose, 2);
        let late = refusal(&["countersign", "-v", "demo"]);
        assert!(late.contains("demo comes first"), "{late}");
        let late = refusal(&["countersign", "-v", "headers"]);
        assert!(late.contains("headers comes first"), "{late}");
        assert!(read(&["countersign", "demo", "--cert", "c.pem"]).is_err());
    }

    #[test]
    fn a_link_of_another_name_is_the_same_program() {
        let line = ["/plugin/servers/mtls-wrapper", "--cert", "a", "--key", "b"];
        let wrapper = read(&line).unwrap();
        assert_eq!(wrapper.bridge.cert.as_deref(), Some("a"));
        assert_eq!(wrapper.bridge.key.as_deref(), Some("b"));
        let [ours, theirs] = ["countersign", "mtls-wrapper"].map(|name| refusal(&[name, "--help"]));
        assert_eq!(ours, theirs);
    }

    #[test]
    fn help_fits_a_terminal_and_shows_every_flag() {
        let help = refusal(&["countersign", "--help"]);
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for argument in Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
            assert!(help.contains(&format!("--{argument}")), "{argument}");
        }
    }

    #[test]
    fn known_habits_get_a_tip() {
        for (flag, tip) in [
            ("--insecure", "--cacert"),
            ("-k", "--pinnedpubkey"),
            ("-H", "--header"),
            ("--token", "--bearer env:NAME"),
            ("--cacrt", "'--cacert'"),
        ] {
            let refusal = refusal(&["countersign", flag]);
            assert!(refusal.contains(flag) && refusal.contains(tip), "{refusal}");
        }
        assert_eq!(read(&["countersign", "-k"]).map(|_| ()).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn stray_words_are_not_quoted() {
        for line in [
            &["countersign", "--header", "Authorization:", "Bearer", "canary"][..],
            &["countersign", "https://a.example", "canary"],
            &["countersign", "demo", "canary"],
            &["countersign", "--token", "canary"],
            &["countersign", "--token=canary"],
            &["countersign", "--cert", "c.pem", "--token=canary"],
            &["countersign", "--", "https://a.example", "canary"],
            &["countersign", "--debug=canary"],
            &["countersign", "--bearer", "env:A", "--bearer", "canary"],
            &["countersign", "headers", "https://a.example", "canary"],
            &["countersign", "headers", "--token", "canary"],
            &["countersign", "exec", "--token", "canary"],
            &["countersign", "exec", "--token=canary", "--", "x"],
        ] {
            let refusal = refusal(line);
            assert!(!refusal.contains("canary"), "{refusal}");
        }
    }
}
