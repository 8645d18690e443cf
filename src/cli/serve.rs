//! What `countersign serve` is told besides what the bridge is: where it listens, and who may ask.

use clap::Args;

use super::Bridge;

/// The flags of the sidecar, as they were written.
#[derive(Args, Default)]
pub struct Serve {
    /// Address to listen on: HOST:PORT, unix:PATH, fd:3; repeatable [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", help_heading = "Listeners")]
    pub listen: Vec<String>,
    /// Mode of Unix sockets [default: 0600]
    #[arg(long, value_name = "MODE", help_heading = "Listeners")]
    pub listen_mode: Option<String>,
    /// Group of Unix sockets, a name or a number
    #[arg(long, value_name = "GROUP", help_heading = "Listeners")]
    pub listen_group: Option<String>,
    /// Certificate of TCP listeners and its chain, PEM: they speak TLS then
    #[arg(long, value_name = "FILE", help_heading = "Listeners")]
    pub listen_cert: Option<String>,
    /// Its private key, PEM [default: in the file of --listen-cert]
    #[arg(long, value_name = "FILE", help_heading = "Listeners")]
    pub listen_key: Option<String>,
    /// Roots that client certificates of callers must come from, PEM
    #[arg(long, value_name = "FILE", help_heading = "Listeners")]
    pub client_ca: Option<String>,
    /// Name (DNS, URI) that a caller's certificate must have; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Listeners")]
    pub client_name: Vec<String>,
    /// Listen beyond this machine without client certificates; needs --inbound-bearer
    #[arg(long, help_heading = "Listeners")]
    pub unsafe_listen: bool,

    /// Name that requests may be for, besides localhost; repeatable
    #[arg(long, value_name = "NAME", help_heading = "Guard")]
    pub allow_host: Vec<String>,
    /// Origin of web pages that may ask, besides localhost's; repeatable
    #[arg(long, value_name = "ORIGIN", help_heading = "Guard")]
    pub allow_origin: Vec<String>,
    /// User whose processes may connect to Unix sockets [default: our own]; repeatable
    #[arg(long, value_name = "UID", help_heading = "Guard")]
    pub allow_uid: Vec<String>,
    /// Header that each request must have, 'Name: value'
    #[arg(long, value_name = "HEADER", help_heading = "Guard")]
    pub require_header: Option<String>,
    /// Token that callers must send in Authorization: Bearer
    #[arg(long, value_name = "REF", help_heading = "Guard")]
    pub inbound_bearer: Option<String>,

    /// Connections at a time [default: 4096]
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub max_connections: Option<String>,
    /// Requests at a time, listening streams included [default: 2048]
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    pub max_requests: Option<String>,
    /// Time for a request's head, and between requests [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub header_timeout: Option<String>,
    /// Time for a request's body, and to take some of an answer [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub body_timeout: Option<String>,
    /// Time for what is under way at SIGTERM [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Limits")]
    pub drain_timeout: Option<String>,

    /// Address of /healthz, /readyz and /metrics: loopback or unix:PATH
    #[arg(long, value_name = "ADDR", help_heading = "Operation")]
    pub admin: Option<String>,
    /// Ready only while the upstreams can be reached: a TLS handshake, no request
    #[arg(long, help_heading = "Operation")]
    pub ready_upstream: bool,
    /// File that gets one line of JSON for each request; - is stdout
    #[arg(long, value_name = "FILE", help_heading = "Operation")]
    pub access_log: Option<String>,
    /// Collector that gets a span of each request (OTLP over HTTP): http://127.0.0.1:4318
    #[arg(long, value_name = "URL", help_heading = "Operation")]
    pub otlp: Option<String>,
    /// Ask a running sidecar at --admin whether it is ready; exits 0 if it is
    #[arg(long, help_heading = "Operation")]
    pub healthcheck: bool,
    /// Speak for clients whose era of MCP is not the upstream's
    #[arg(long, help_heading = "Connection")]
    pub translate: bool,
    /// Stand before the demo's gateway and MCP server, which need nothing
    #[arg(long, conflicts_with = "url")]
    pub demo: bool,

    /// What the way to the upstream is told.
    #[command(flatten)]
    pub bridge: Bridge,
}
