//! `countersign serve`: where it listens, who may ask, how much at a time, and its routes.
//!
//! What is open to the network without any proof of who asks is refused here, before anything
//! listens.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue};

use super::{
    Config, forms,
    layer::{Layer, Layers},
    otlp::{self, Otlp},
    place::{Place, Stated},
    scope::Scope,
    serve::{Route, Said},
};
use crate::{
    failure::{Failure, Stage},
    ledger::{self, Destination},
    sidecar::{
        Limits, Settings, Times, guard,
        listener::{Access, Address, FIRST_INHERITED},
        notify,
    },
    tls::inbound,
};

/// Where it listens if nothing is said.
const LISTEN: &str = "127.0.0.1:8080";

const MODE: u32 = 0o600;
const CONNECTIONS: usize = 4096;
const REQUESTS: usize = 2048;
const QUEUE: usize = 1024;
/// How long a request waits for another to end.
const PATIENCE: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(60);
const BODY: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(30);

/// What `serve` amounts to.
pub struct Sidecar {
    /// The front end.
    pub settings: Settings,
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Where it tells of itself.
    pub admin: Option<Address>,
    /// Who may open its Unix sockets.
    pub access: Access,
    /// The TLS of its TCP listeners.
    pub tls: Option<inbound::Settings>,
    /// Whether it is ready only while the upstreams can be reached.
    pub ready_upstream: bool,
    /// Whether it speaks for clients of another era than an upstream's.
    pub translate: bool,
    /// Whether it may listen beyond this machine without client certificates.
    pub unsafe_listen: bool,
    /// Where requests go; nowhere in the demo.
    pub routes: Vec<Routed>,
    /// The logs of requests.
    pub ledger: ledger::Settings,
    /// Where spans of requests go.
    pub otlp: Option<Otlp>,
}

/// A way to one upstream.
pub struct Routed {
    /// Its name.
    pub name: String,
    /// The host that a request must be for.
    pub host: Option<String>,
    /// Where its paths begin here.
    pub prefix: Option<String>,
    /// The upstream, the identity and the credentials.
    pub config: Config,
}

impl Routed {
    /// The only one: all paths of the upstream, as they are.
    pub(super) fn only(config: Config) -> Self {
        Self { name: "default".to_owned(), host: None, prefix: None, config }
    }

    /// Refuses what only the bridge speaks.
    fn over_http(&self) -> Result<(), Failure> {
        let url = &self.config.upstream.url;
        if !url.is_websocket() {
            return Ok(());
        }
        let (name, scheme) = (&self.name, if url.is_https() { "https" } else { "http" });
        let what = format!("route {name}: expected a URL with {scheme}://, found {}", url.origin());
        Err(Failure::new(Stage::Configuration, what).hint(format!(
            "write it with {scheme}://: a sidecar forwards HTTP, and WebSockets pass through it as \
             they are"
        )))
    }
}

impl Sidecar {
    /// Whether a listener that others than this machine can reach may be opened.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: nothing proves who asks, or nobody said that it is meant.
    pub fn may_listen(&self, name: &str, exposed: bool) -> Result<(), Failure> {
        let certified = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if !exposed || certified || (self.unsafe_listen && self.settings.token.is_some()) {
            return Ok(());
        }
        let what =
            format!("{name} can be reached from other machines, and nothing proves who asks there");
        Err(Failure::new(Stage::Configuration, what).hint(
            "listen on 127.0.0.1 or unix:PATH, or ask for client certificates: --listen-cert FILE \
             --listen-key FILE --client-ca FILE; to let the network in without, give it a token and \
             say so: --inbound-bearer REF --unsafe-listen",
        ))
    }
}

/// The routes of the profile. What says where to go has no place beside them.
///
/// # Errors
///
/// At [`Stage::Configuration`]: a flag, or the profile itself, says where to go as well, or as whom. No
/// request would carry that.
pub(super) fn routes(said: &Layers) -> Result<&[Stated<Route>], Failure> {
    let routes = said.profile.serve.routes.as_slice();
    let stray = stray(&said.flags).or_else(|| stray(&said.profile));
    match (routes, stray) {
        ([first, ..], Some(place)) => Err(place
            .refuse(format_args!("there are routes ({}), which say where to go", first.place))
            .hint("put it into the profile of a route")),
        (routes, _) => Ok(routes),
    }
}

/// What a layer says that is a route's alone to say.
fn stray(layer: &Layer) -> Option<&Place> {
    let paths = [&layer.url, &layer.cert, &layer.key, &layer.pkcs12, &layer.spiffe];
    let stray = paths.into_iter().flatten().chain(&layer.cacert).map(|said| &said.place);
    stray.chain(layer.sent.iter().map(|said| &said.place)).next()
}

impl Route {
    /// The route with what its profile amounts to.
    pub(super) fn settle(&self, place: &Place, config: Config) -> Result<Routed, Failure> {
        if self.prefix.is_none() && self.host.is_none() {
            let refused = place.refuse("expected a prefix or a host, found neither");
            return Err(refused.hint("prefix = \"/NAME\" is where its paths begin here"));
        }
        if config.ledger.audit.is_some() {
            let refused = place.refuse("the audit log is that of the sidecar, not of a route");
            return Err(refused.hint("put audit_log into the profile that has the routes"));
        }
        let prefix = self.prefix.as_ref().map(|said| match said.value.strip_prefix('/') {
            Some(_) if !said.value.contains(['?', '#', '%', '\\']) => Ok(said.value.clone()),
            _ => Err(said.place.refuse("expected the beginning of a path, as in \"/github\"")),
        });
        Ok(Routed {
            name: self.name.clone(),
            host: self.host.as_ref().map(|said| host(said, &said.value)).transpose()?,
            prefix: prefix.transpose()?,
            config,
        })
    }
}

impl Routed {
    /// The requests that take it: their host, and where their paths begin.
    fn requests(&self) -> (Option<&str>, &str) {
        let upstream = self.config.upstream.url.uri().path();
        let prefix = self.prefix.as_deref().unwrap_or(upstream);
        (self.host.as_deref(), prefix.trim_end_matches('/'))
    }
}

/// The flag says what a client on stdio speaks, and there is none. A profile may be for both.
fn without_era(said: &Layers) -> Result<(), Failure> {
    let Some(era) = &said.flags.protocol else { return Ok(()) };
    let refused = era.place.refuse("it is for clients on stdio: HTTP clients say what they speak");
    Err(refused.hint("leave it out; --translate lets each client speak with each upstream"))
}

/// Each request has one way at most: of two routes for the same ones, one would never be taken.
fn distinct(said: &[Stated<Route>], routes: &[Routed]) -> Result<(), Failure> {
    for (at, (route, said)) in routes.iter().zip(said).enumerate() {
        let same = |other: &&Routed| other.requests() == route.requests();
        if let Some(other) = routes[..at].iter().find(same) {
            let what = format_args!("{} and {} are for the same requests", other.name, route.name);
            let refused = said.place.refuse(what);
            return Err(refused.hint("give each a host or a prefix of its own"));
        }
    }
    Ok(())
}

/// The settings of both layers; `routes` are those of the profile, or the only one.
pub(super) fn settle(
    said: &Layers,
    scope: &Scope<'_>,
    (max_message, response): (usize, Duration),
    routes: Vec<Routed>,
) -> Result<Sidecar, Failure> {
    routes.iter().try_for_each(Routed::over_http)?;
    without_era(said)?;
    distinct(&said.profile.serve.routes, &routes)?;
    let time = |of: fn(&Said) -> &Option<Stated<String>>, default| match first(said, of) {
        None => Ok(default),
        Some(time) => forms::duration(&time.value).map_err(|what| time.place.refuse(what)),
    };
    let connections = count(first(said, |it| &it.connections), CONNECTIONS)?;
    let requests = count(first(said, |it| &it.requests), REQUESTS)?;
    let token = first(said, |it| &it.token);
    let times =
        Times { head: time(|it| &it.head, HEAD)?, body: time(|it| &it.body, BODY)?, response };
    let settings = Settings {
        guard: guarded(said, scope, &routes)?,
        token: token.map(|said| scope.open(&said.place, &said.value)).transpose()?,
        limits: Limits { connections, requests, queue: QUEUE, patience: PATIENCE, max_message },
        times,
        drain: time(|it| &it.drain, DRAIN)?,
        notify: notify(scope),
    };
    let listen = listed(said, |it| &it.listen).iter().map(|said| address(said, scope));
    let mut listen = listen.collect::<Result<Vec<_>, _>>()?;
    if listen.is_empty() {
        let default = Stated { value: LISTEN.to_owned(), place: Place::flag("--listen") };
        listen.push(address(&default, scope)?);
    }
    let access = Access {
        mode: first(said, |it| &it.mode).map_or(Ok(MODE), mode)?,
        group: first(said, |it| &it.group).map(group).transpose()?,
    };
    let unsafe_listen = first(said, |it| &it.unsafe_listen).copied().unwrap_or(false);
    let ready_upstream = first(said, |it| &it.ready_upstream).copied().unwrap_or(false);
    let translate = first(said, |it| &it.translate).copied().unwrap_or(false);
    let tls = tls(said, scope)?;
    let admin = admin(said, scope)?;
    let access_log = first(said, |it| &it.access_log).map(|said| destination(said, scope));
    let ledger =
        ledger::Settings { access: access_log.transpose()?, audit: super::audit(said, scope)? };
    let otlp = first(said, |it| &it.otlp).map(|said| otlp::settle(said, scope)).transpose()?;
    Ok(Sidecar {
        settings,
        listen,
        admin,
        access,
        tls,
        ready_upstream,
        translate,
        unsafe_listen,
        routes,
        ledger,
        otlp,
    })
}

fn destination(said: &Stated<String>, scope: &Scope<'_>) -> Result<Destination, Failure> {
    match &*said.value {
        "-" => Ok(Destination::Stdout),
        _ => scope.path(said).map(Destination::File),
    }
}

/// The TLS of the listeners. It is replaced as a whole: a certificate from a flag has nothing to do
/// with the key of a profile.
fn tls(said: &Layers, scope: &Scope<'_>) -> Result<Option<inbound::Settings>, Failure> {
    let of_flags = said.flags.serve.cert.is_some();
    let from = if of_flags { &said.flags.serve } else { &said.profile.serve };
    let client_ca = first(said, |it| &it.client_ca);
    let Some(cert) = &from.cert else {
        let names = listed(said, |it| &it.names).first();
        let stray = [&said.flags.serve.key, &from.key].into_iter().flatten().chain(client_ca);
        return match stray.chain(names).next() {
            None => Ok(None),
            Some(said) => Err(said
                .place
                .refuse("expected a certificate of the listeners beside it, found none")
                .hint(
                    "client certificates are part of TLS: --listen-cert FILE, --listen-key FILE",
                )),
        };
    };
    if let (None, Some(name)) = (client_ca, listed(said, |it| &it.names).first()) {
        let refused = name.place.refuse("no client certificate is asked for");
        return Err(refused.hint("--client-ca FILE says whose certificates are accepted"));
    }
    Ok(Some(inbound::Settings {
        cert: scope.path(cert)?,
        key: scope.path(from.key.as_ref().unwrap_or(cert))?,
        client_ca: client_ca.map(|said| scope.path(said)).transpose()?,
    }))
}

/// Where it tells of itself: to this machine alone.
pub(super) fn admin(said: &Layers, scope: &Scope<'_>) -> Result<Option<Address>, Failure> {
    let Some(said) = first(said, |it| &it.admin) else { return Ok(None) };
    let address = address(said, scope)?;
    // Nobody knows yet who can reach a socket that was opened before us.
    if address.is_exposed() || matches!(address, Address::Inherited(_)) {
        let refused = said.place.refuse("expected an address of this machine alone");
        return Err(refused.hint("127.0.0.1:9901 and unix:PATH are: it asks nobody who they are"));
    }
    Ok(Some(address))
}

/// What systemd says of whom to tell (sd_notify(3)).
fn notify(scope: &Scope<'_>) -> notify::Settings {
    let watchdog = scope.variable("WATCHDOG_USEC").and_then(|every| every.parse().ok());
    // A watchdog of another process, which handed its environment on.
    let own =
        scope.variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    notify::Settings {
        socket: scope.variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()),
        watchdog: watchdog.filter(|every| own && *every > 0).map(Duration::from_micros),
    }
}

/// The flag's value, else the profile's.
fn first<T>(said: &Layers, of: impl Fn(&Said) -> &Option<T>) -> Option<&T> {
    of(&said.flags.serve).as_ref().or(of(&said.profile.serve).as_ref())
}

/// The flag's list, else the profile's.
fn listed<T>(said: &Layers, of: impl Fn(&Said) -> &Vec<T>) -> &Vec<T> {
    let flags = of(&said.flags.serve);
    if flags.is_empty() { of(&said.profile.serve) } else { flags }
}

fn guarded(
    said: &Layers,
    scope: &Scope<'_>,
    routes: &[Routed],
) -> Result<guard::Settings, Failure> {
    let hosts = listed(said, |it| &it.hosts).iter().map(|said| host(said, &scope.text(said)?));
    let origins = listed(said, |it| &it.origins).iter().map(|said| {
        let origin = scope.text(said)?.to_ascii_lowercase();
        if !origin.contains("://") || origin.ends_with('/') {
            let refused = said.place.refuse("expected an origin, as in https://tools.example");
            return Err(refused.hint("an origin is scheme, host and port, without a path"));
        }
        Ok(origin)
    });
    let users = listed(said, |it| &it.users).iter().map(|said| {
        let user = scope.text(said)?.parse();
        user.map_err(|_| said.place.refuse("expected the number of a user, as id -u prints it"))
    });
    let names = listed(said, |it| &it.names).iter().map(|said| client_name(said, scope));
    let mut users = users.collect::<Result<Vec<u32>, Failure>>()?;
    if users.is_empty() {
        users.push(rustix::process::geteuid().as_raw());
    }
    Ok(guard::Settings {
        hosts: hosts.collect::<Result<_, _>>()?,
        routed: routes.iter().filter_map(|route| route.host.clone()).collect(),
        origins: origins.collect::<Result<_, _>>()?,
        users,
        names: names.collect::<Result<_, _>>()?,
        required: first(said, |it| &it.required).map(|it| required(it, scope)).transpose()?,
    })
}

/// A host by itself: what a request is for is compared without its port.
fn host(said: &Stated<String>, text: &str) -> Result<String, Failure> {
    guard::host_name(text).ok_or_else(|| {
        let refused = said.place.refuse("expected the name of a host, as in sidecar.internal");
        refused.hint("name each host by itself, without scheme, port and path")
    })
}

/// `agent.example` in lower case, as on the other side; a URI as it is (RFC 3986, section 6.2.2.1).
fn client_name(said: &Stated<String>, scope: &Scope<'_>) -> Result<String, Failure> {
    let name = scope.text(said)?;
    let valid = match name.split_once(':') {
        Some((scheme, rest)) => {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
                && !rest.is_empty()
                && rest.bytes().all(|it| it.is_ascii_graphic())
        }
        None => {
            !name.is_empty()
                && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
        }
    };
    if !valid {
        return Err(said
            .place
            .refuse("expected a DNS name or a URI")
            .hint("names are compared whole, as in agent.example or spiffe://prod.example/agent"));
    }
    Ok(if name.contains(':') { name } else { name.to_ascii_lowercase() })
}

fn required(
    said: &Stated<(String, String)>,
    scope: &Scope<'_>,
) -> Result<(HeaderName, HeaderValue), Failure> {
    let (name, value) = &said.value;
    let name = HeaderName::from_bytes(name.as_bytes());
    let value = HeaderValue::try_from(scope.expand(&said.place, value)?);
    match (name, value) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(said.place.refuse("expected a header, as in 'X-From: agent'")),
    }
}

fn count(said: Option<&Stated<String>>, default: usize) -> Result<usize, Failure> {
    let Some(said) = said else { return Ok(default) };
    match said.value.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(said.place.refuse("expected a number of 1 or more")),
    }
}

/// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `unix:PATH`, `fd:3`.
fn address(said: &Stated<String>, scope: &Scope<'_>) -> Result<Address, Failure> {
    let text = scope.text(said)?;
    let example = "write it as 127.0.0.1:8080, [::1]:8080, unix:/run/countersign.sock or fd:3";
    if let Some(path) = text.strip_prefix("unix:") {
        let path = Stated { value: path.to_owned(), place: said.place.clone() };
        return scope.path(&path).map(Address::Unix);
    }
    if let Some(number) = text.strip_prefix("fd:") {
        let index = number.parse().ok().and_then(|it: usize| it.checked_sub(FIRST_INHERITED));
        return index.map(Address::Inherited).ok_or_else(|| {
            said.place.refuse("expected the number of a descriptor, 3 or more").hint(example)
        });
    }
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    text.parse::<SocketAddr>()
        .map(Address::Tcp)
        .map_err(|_| said.place.refuse("expected an address and a port").hint(example))
}

/// The bits of chmod(1), in octal.
fn mode(said: &Stated<String>) -> Result<u32, Failure> {
    let digits = said.value.trim_start_matches("0o");
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(said.place.refuse("expected a mode in octal, as in \"0660\"")),
    }
}

/// A number, or the name of a group of this machine.
fn group(said: &Stated<String>) -> Result<u32, Failure> {
    if let Ok(number) = said.value.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(&said.value)).then(|| fields.nth(1)?.parse().ok())?
    });
    number.ok_or_else(|| {
        said.place.refuse(format_args!("{GROUPS} has no such group")).hint("give its number")
    })
}

const GROUPS: &str = "/etc/group";
