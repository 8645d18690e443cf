//! `countersign demo`: an mTLS gateway with an MCP server behind it, and the bridge in front.
//!
//! Everything is made when it starts and gone when it ends: it reads no configuration, no file
//! and no network but the loopback. The bridge is the one that users run, joined here from the
//! same parts as in `app`, so that this file is also the shortest example of how they join.

mod gateway;
#[cfg(unix)]
mod page;
mod papers;
mod server;
#[cfg(unix)]
mod tour;

use std::{sync::Arc, time::Duration};

use rustls::crypto::aws_lc_rs;
use tokio::sync::{mpsc, watch};

use self::{gateway::Seen, papers::Papers};
use crate::{
    bridge, credentials,
    failure::{Failure, Stage},
    outbound,
    secret::{Held, Reference, Secret},
    service::HttpService,
    shutdown::{self, Parent},
    sidecar,
    stdio::{Input, Output},
    tls,
    upstream::{self, proxy, url::UpstreamUrl},
};

/// The variable that would hold the token outside of the demo.
const TOKEN: &str = "TOKEN";
/// A static header, as gateways of many tenants want one.
const TENANT: (&str, &str) = ("X-Tenant", "acme");

/// Shows the tour on standard output or, with `stdio`, is an MCP server on standard input and
/// output until its client is gone.
///
/// # Errors
/// When anything does not do what it should: the tour checks each of its steps.
pub async fn run(stdio: bool, parent: Parent) -> Result<(), Failure> {
    let (demo, seen) = Demo::start().await?;
    if stdio {
        // Nobody looks at what the gateway saw.
        drop(seen);
        let stop = shutdown::requested(parent).map_err(broken("the signal handlers"))?;
        let (settings, service) = demo.bridge(&Flags::RIGHT).await?;
        bridge::run(settings, service, (Input::stdin(), Output::stdout()), stop).await;
        return Ok(());
    }
    tour(&demo, seen).await
}

/// The way to the demo's server, for a sidecar to stand before it. It is there as long as the runtime.
///
/// # Errors
/// When the demo can't be set up.
pub async fn route(translates: bool) -> Result<sidecar::Route, Failure> {
    let (demo, seen) = Demo::start().await?;
    drop(seen);
    let join = |upgrades| demo.join(&Flags::RIGHT, upgrades, outbound::join_without_redirects);
    let translate = match translates {
        true => {
            let (settings, service) = demo.bridge(&Flags::RIGHT).await?;
            Some(sidecar::Translate { settings, service })
        }
        false => None,
    };
    Ok(sidecar::Route {
        name: "demo".to_owned(),
        host: None,
        prefix: None,
        upstream: demo.url.uri().clone(),
        service: join(false).await?,
        sockets: join(true).await?,
        tls: None,
        reach: None,
        translate,
    })
}

#[cfg(unix)]
async fn tour(demo: &Demo, seen: mpsc::UnboundedReceiver<Seen>) -> Result<(), Failure> {
    use std::io::IsTerminal as _;
    let stdout = std::io::stdout();
    let page = page::Page::new(stdout.lock(), stdout.is_terminal());
    tour::run(demo, seen, page).await
}

/// The tour's client speaks over socket pairs.
#[cfg(not(unix))]
async fn tour(_: &Demo, _: mpsc::UnboundedReceiver<Seen>) -> Result<(), Failure> {
    let what = "the tour is for Unix systems";
    Err(Failure::new(Stage::Downstream, what)
        .hint("point an MCP client at countersign demo --stdio"))
}

/// The flags that differ from one bridge of the demo to the next.
struct Flags {
    /// `--cert`; the key is beside it.
    cert: Option<&'static str>,
    /// `--cacert`.
    cacert: &'static str,
}

impl Flags {
    /// Those with which the gateway lets the bridge in.
    const RIGHT: Self = Self { cert: Some(papers::CLIENT), cacert: papers::CA };

    fn tls(&self) -> tls::Settings {
        let identity = self.cert.map(|cert| {
            use tls::identity::{Pair, Settings, Source};
            let (cert, key) = (Source::File(cert.into()), Source::File(papers::key_of(cert)));
            Settings::Pair(Pair { cert, key, passphrase: None })
        });
        let roots = tls::roots::Settings { cacert: vec![self.cacert.into()], ..Default::default() };
        tls::Settings {
            identity,
            roots,
            pins: Vec::new(),
            server_name: None,
            server_id: None,
            spiffe: None,
            minimum: tls::Minimum::default(),
            http: tls::Http::default(),
        }
    }
}

/// A running gateway, and what a bridge to it is made from.
struct Demo {
    url: UpstreamUrl,
    papers: Papers,
    token: Held,
}

impl Demo {
    /// Makes the certificates and starts the gateway; it tells what it sees to the receiver.
    async fn start() -> Result<(Self, mpsc::UnboundedReceiver<Seen>), Failure> {
        let papers = Papers::issue().map_err(broken("the certificates"))?;
        let token = random().ok_or_else(|| broken("a token")("no random numbers"))?;
        let (sightings, seen) = mpsc::unbounded_channel();
        let secret = Secret::new(token.as_str());
        let address = gateway::start(papers.gateway()?, secret, sightings)
            .await
            .map_err(broken("a port on 127.0.0.1"))?;
        let demo = Self {
            url: UpstreamUrl::parse(&format!("https://{address}{}", server::PATH))?,
            papers,
            token: Held::given(Reference::Env(TOKEN.to_owned()), Secret::new(token)),
        };
        Ok((demo, seen))
    }

    /// What [`bridge::run`] needs, made as from a command line with these flags.
    async fn bridge(&self, flags: &Flags) -> Result<(bridge::Settings, HttpService), Failure> {
        let settings = bridge::Settings {
            uri: self.url.uri().clone(),
            upstream: self.url.origin(),
            websocket: false,
            max_message: 1 << 20,
            idle_timeout: Duration::from_secs(60),
            max_in_flight: 64,
            drain: Duration::from_secs(10),
            protocol: None,
            ledger: None,
        };
        Ok((settings, self.join(flags, false, outbound::join).await?))
    }

    /// The way to the gateway, joined by `join`.
    async fn join(
        &self,
        flags: &Flags,
        upgrades: bool,
        join: impl Fn(
            &upstream::Settings,
            &credentials::Settings,
            tls::Generations,
        ) -> Result<HttpService, Failure>,
    ) -> Result<HttpService, Failure> {
        let upstream = upstream::Settings {
            url: self.url.clone(),
            proxy: proxy::Settings::default(),
            connect_timeout: Duration::from_secs(5),
            maximum_age: Duration::from_secs(60),
            upgrades,
        };
        let credentials = credentials::Settings {
            headers: vec![credentials::headers::Header::new(TENANT.0, TENANT.1)?],
            authorization: Some(credentials::authorization::Settings::Bearer(self.token.clone())),
            ..credentials::Settings::default()
        };
        let tls = tls::from_memory(&flags.tls(), self.papers.files()).await?;
        // Nothing in memory changes: the first generation is the last.
        let (_, generations) = watch::channel(Arc::new(tls));
        join(&upstream, &credentials, generations.into())
    }
}

/// 32 hexadecimal digits that nobody can guess.
fn random() -> Option<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The failure of a part without which there is no demo.
fn broken<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(Stage::Connect, format!("the demo can't have {part}: {error}"))
}
