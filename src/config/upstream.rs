//! Where requests go: the URL, the proxy on the way, and the time to get there.
//!
//! Neither URL may hold a user or a password: URLs end up in logs and process lists. What the
//! environment says of proxies is handed on as it is.

use std::time::Duration;

use crate::{
    failure::{Failure, Stage},
    upstream::{Settings, proxy, url::UpstreamUrl},
};

use super::{forms, layer::Layers, place::Place, scope::Scope};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream may stay on a connection of the identity before: long enough that no call is
/// cut for it, short against the lifetime of a certificate.
const MAXIMUM_AGE: Duration = Duration::from_secs(5 * 60);

/// The upstream of both layers and the environment.
pub(super) fn settle(said: &Layers, scope: &Scope<'_>) -> Result<Settings, Failure> {
    let connect_timeout = match said.first(|layer| &layer.connect_timeout) {
        Some(time) => forms::duration(&time.value).map_err(|what| time.place.refuse(what))?,
        None => CONNECT_TIMEOUT,
    };
    let url = url(said, scope)?;
    Ok(Settings {
        upgrades: url.is_websocket(),
        url,
        proxy: proxy(said, scope)?,
        connect_timeout,
        maximum_age: MAXIMUM_AGE,
    })
}

fn url(said: &Layers, scope: &Scope<'_>) -> Result<UpstreamUrl, Failure> {
    let variable = scope.stated("API_URL");
    let Some(said) = said.first(|layer| &layer.url).or(variable.as_ref()) else {
        return Err(Failure::new(
            Stage::Configuration,
            "expected the URL of an MCP server, found none",
        )
        .hint(
            "give it as the argument (countersign https://mcp.example.com/mcp), as url in a \
                 profile (--config FILE) or in the variable API_URL; countersign demo shows a \
                 working one",
        ));
    };
    let url = scope.text(said)?;
    if !url.contains("://") {
        // Not quoted: a word without its flag may be a secret.
        let refused = said.place.refuse("expected a URL with https://, found a word without");
        return Err(refused.hint(
            "write the whole URL, as in https://mcp.example.com/mcp; if the word belongs to a \
             flag, quote that flag's value",
        ));
    }
    refuse_userinfo(&said.place, &url, "--basic USER:env:NAME")?;
    UpstreamUrl::parse(&url).map_err(|failure| said.place.blame(&failure))
}

fn proxy(said: &Layers, scope: &Scope<'_>) -> Result<proxy::Settings, Failure> {
    let explicit = match said.first(|layer| &layer.proxy) {
        None => None,
        Some(said) => {
            let url = scope.text(said)?;
            refuse_userinfo(&said.place, &url, "--proxy-user USER:env:NAME")?;
            Some(url)
        }
    };
    let credentials = said.first(|layer| &layer.proxy_user);
    let credentials = credentials.map(|login| scope.login(&login.place, &login.value));
    // As curl has it: lower case wins, and a variable that is empty says "none".
    let variable = |lower, upper| {
        let value = scope.variable(lower).or_else(|| scope.variable(upper));
        value.filter(|value| !value.is_empty())
    };
    Ok(proxy::Settings {
        explicit,
        credentials: credentials.transpose()?,
        https_proxy: variable("https_proxy", "HTTPS_PROXY"),
        all_proxy: variable("all_proxy", "ALL_PROXY"),
        no_proxy: variable("no_proxy", "NO_PROXY"),
    })
}

/// Refuses `scheme://user:password@host`, without saying what it found there.
fn refuse_userinfo(place: &Place, url: &str, instead: &str) -> Result<(), Failure> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    // URL parsers read `\` as `/`, and skip slashes too many.
    let after_scheme = after_scheme.trim_start_matches(['/', '\\']);
    let authority = after_scheme.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        let refused = place.refuse("expected a URL without a user or password, found one with");
        return Err(refused.hint(format!("take out what stands before the @, and use {instead}")));
    }
    Ok(())
}
