//! What the flags of `serve` said, or `[profile.NAME.serve]`: the same names, as text.

use crate::{cli, failure::Failure, secret::Reference};

use super::{
    forms,
    place::{Place, Stated},
    value::Item,
};

/// The keys of the table.
pub(super) const KEYS: [&str; 24] = [
    "listen",
    "listen_mode",
    "listen_group",
    "listen_cert",
    "listen_key",
    "client_ca",
    "client_name",
    "unsafe_listen",
    "allow_host",
    "allow_origin",
    "allow_uid",
    "require_header",
    "inbound_bearer",
    "max_connections",
    "max_requests",
    "header_timeout",
    "body_timeout",
    "drain_timeout",
    "admin",
    "ready_upstream",
    "access_log",
    "otlp",
    "translate",
    "routes",
];

const ROUTE_KEYS: [&str; 3] = ["profile", "prefix", "host"];

/// What one source said.
#[derive(Default)]
pub(super) struct Said {
    pub(super) listen: Vec<Stated<String>>,
    pub(super) mode: Option<Stated<String>>,
    pub(super) group: Option<Stated<String>>,
    pub(super) cert: Option<Stated<String>>,
    pub(super) key: Option<Stated<String>>,
    pub(super) client_ca: Option<Stated<String>>,
    pub(super) names: Vec<Stated<String>>,
    pub(super) unsafe_listen: Option<bool>,
    pub(super) hosts: Vec<Stated<String>>,
    pub(super) origins: Vec<Stated<String>>,
    pub(super) users: Vec<Stated<String>>,
    pub(super) required: Option<Stated<(String, String)>>,
    pub(super) token: Option<Stated<Reference>>,
    pub(super) connections: Option<Stated<String>>,
    pub(super) requests: Option<Stated<String>>,
    pub(super) head: Option<Stated<String>>,
    pub(super) body: Option<Stated<String>>,
    pub(super) drain: Option<Stated<String>>,
    pub(super) admin: Option<Stated<String>>,
    pub(super) ready_upstream: Option<bool>,
    pub(super) access_log: Option<Stated<String>>,
    pub(super) otlp: Option<Stated<String>>,
    pub(super) translate: Option<bool>,
    pub(super) routes: Vec<Stated<Route>>,
}

/// A route, whose upstream and credentials are those of another profile.
pub(super) struct Route {
    pub(super) name: String,
    pub(super) profile: Stated<String>,
    pub(super) prefix: Option<Stated<String>>,
    pub(super) host: Option<Stated<String>>,
}

/// What the command line said.
pub(super) fn flags(said: &cli::Serve) -> Result<Said, Failure> {
    let text = |flag: &'static str, value: &Option<String>| {
        value.clone().map(|value| Stated { value, place: Place::flag(flag) })
    };
    let texts = |flag: &'static str, values: &[String]| {
        let stated = |value: &String| Stated { value: value.clone(), place: Place::flag(flag) };
        values.iter().map(stated).collect()
    };
    let header = text("--require-header", &said.require_header);
    let token = text("--inbound-bearer", &said.inbound_bearer);
    Ok(Said {
        listen: texts("--listen", &said.listen),
        mode: text("--listen-mode", &said.listen_mode),
        group: text("--listen-group", &said.listen_group),
        cert: text("--listen-cert", &said.listen_cert),
        key: text("--listen-key", &said.listen_key),
        client_ca: text("--client-ca", &said.client_ca),
        names: texts("--client-name", &said.client_name),
        unsafe_listen: said.unsafe_listen.then_some(true),
        hosts: texts("--allow-host", &said.allow_host),
        origins: texts("--allow-origin", &said.allow_origin),
        users: texts("--allow-uid", &said.allow_uid),
        required: header.map(|it| formed(it, forms::header)).transpose()?,
        token: token.map(|it| formed(it, forms::reference)).transpose()?,
        connections: text("--max-connections", &said.max_connections),
        requests: text("--max-requests", &said.max_requests),
        head: text("--header-timeout", &said.header_timeout),
        body: text("--body-timeout", &said.body_timeout),
        drain: text("--drain-timeout", &said.drain_timeout),
        admin: text("--admin", &said.admin),
        ready_upstream: said.ready_upstream.then_some(true),
        access_log: text("--access-log", &said.access_log),
        otlp: text("--otlp", &said.otlp),
        translate: said.translate.then_some(true),
        routes: Vec::new(),
    })
}

fn formed<T>(
    said: Stated<String>,
    form: impl FnOnce(&Place, &str) -> Result<T, Failure>,
) -> Result<Stated<T>, Failure> {
    Ok(Stated { value: form(&said.place, &said.value)?, place: said.place })
}

/// Reads the table.
pub(super) fn read(table: &Item<'_>) -> Result<Said, Failure> {
    let mut said = Said::default();
    for item in table.items()? {
        match item.name {
            "listen" => said.listen = item.strings()?,
            // In TOML 0o660 is a number, which would be read as a decimal one.
            "listen_mode" => said.mode = Some(item.string()?),
            "listen_group" => said.group = Some(item.scalar()?),
            "listen_cert" => said.cert = Some(item.string()?),
            "listen_key" => said.key = Some(item.string()?),
            "client_ca" => said.client_ca = Some(item.string()?),
            "client_name" => said.names = item.strings()?,
            "unsafe_listen" => said.unsafe_listen = Some(item.boolean()?),
            "allow_host" => said.hosts = item.strings()?,
            "allow_origin" => said.origins = item.strings()?,
            "allow_uid" => said.users = item.scalars()?,
            "require_header" => said.required = Some(formed(item.string()?, forms::header)?),
            "inbound_bearer" => said.token = Some(item.stated(item.reference()?)),
            "max_connections" => said.connections = Some(item.scalar()?),
            "max_requests" => said.requests = Some(item.scalar()?),
            "header_timeout" => said.head = Some(item.scalar()?),
            "body_timeout" => said.body = Some(item.scalar()?),
            "drain_timeout" => said.drain = Some(item.scalar()?),
            "admin" => said.admin = Some(item.string()?),
            "ready_upstream" => said.ready_upstream = Some(item.boolean()?),
            "access_log" => said.access_log = Some(item.string()?),
            "otlp" => said.otlp = Some(item.string()?),
            "translate" => said.translate = Some(item.boolean()?),
            "routes" => said.routes = routes(&item)?,
            _ => return Err(item.unknown(&KEYS)),
        }
    }
    Ok(said)
}

fn routes(table: &Item<'_>) -> Result<Vec<Stated<Route>>, Failure> {
    let read = |item: Item<'_>| {
        let (mut profile, mut prefix, mut host) = (None, None, None);
        for part in item.items()? {
            match part.name {
                "profile" => profile = Some(part.string()?),
                "prefix" => prefix = Some(part.string()?),
                "host" => host = Some(part.string()?),
                _ => return Err(part.unknown(&ROUTE_KEYS)),
            }
        }
        let name = item.name.to_owned();
        let profile = profile.unwrap_or_else(|| item.stated(name.clone()));
        Ok(item.stated(Route { name, profile, prefix, host }))
    };
    table.items()?.into_iter().map(read).collect()
}
