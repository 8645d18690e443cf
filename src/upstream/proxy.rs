//! The proxy on the way to the upstream, if there is one.
//!
//! `--proxy` wins over the variables, which mean what curl means by them. A loopback upstream is
//! never reached through a proxy that only a variable names.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use zeroize::Zeroizing;

use super::url::UpstreamUrl;
use crate::{
    failure::{Failure, Stage},
    secret::Held,
};

/// Where a proxy may be named.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--proxy`.
    pub explicit: Option<String>,
    /// `--proxy-user`: the user, and the password's source.
    pub credentials: Option<(String, Held)>,
    /// `https_proxy` or `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// `all_proxy` or `ALL_PROXY`.
    pub all_proxy: Option<String>,
    /// `no_proxy` or `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// The proxy of one upstream.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    /// Its URL, without user and password.
    pub(super) uri: Uri,
    pub(super) kind: Kind,
    login: Login,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONNECT (RFC 9110 section 9.3.6).
    Connect,
    /// RFC 1928; `remote`: the proxy resolves the name.
    Socks5 { remote: bool },
}

#[derive(Clone)]
enum Login {
    None,
    /// What a variable's URL says.
    Given(String, Zeroizing<String>),
    Held(String, Held),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Given(..) | Self::Held(..) => "<redacted>",
        })
    }
}

impl Settings {
    /// The proxy for `upstream`; none when it is reached directly.
    ///
    /// # Errors
    /// At the configuration stage, for a proxy that can't be spoken to.
    pub(super) fn proxy_for(&self, upstream: &UpstreamUrl) -> Result<Option<Proxy>, Failure> {
        let intercepted = match &self.explicit {
            Some(proxy) => Matcher::builder().all(proxy.as_str()).build().intercept(upstream.uri()),
            None if upstream.is_loopback() => None,
            None => self.variables().intercept(upstream.uri()),
        };
        let Some(found) = intercepted else {
            return match &self.explicit {
                Some(_) => Err(refused("--proxy names no proxy that can be understood")
                    .hint("write it as http://proxy.example.com:3128 or socks5h://...")),
                None => Ok(None),
            };
        };
        let kind = match found.uri().scheme_str() {
            Some("http") | None => Kind::Connect,
            Some("socks5") => Kind::Socks5 { remote: false },
            Some("socks5h") => Kind::Socks5 { remote: true },
            Some(scheme) => {
                return Err(refused(format!("a proxy of the kind {scheme} can't be used"))
                    .hint("http://, socks5:// and socks5h:// proxies can"));
            }
        };
        let login = match (&self.credentials, found.raw_auth(), found.basic_auth()) {
            (Some((user, password)), ..) => Login::Held(user.clone(), password.clone()),
            (None, Some((user, password)), _) => {
                Login::Given(user.to_owned(), Zeroizing::new(password.to_owned()))
            }
            (None, None, Some(basic)) => decoded(basic).unwrap_or(Login::None),
            (None, None, None) => Login::None,
        };
        Ok(Some(Proxy { uri: found.uri().clone(), kind, login }))
    }

    fn variables(&self) -> Matcher {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Matcher::builder()
            .all(text(&self.all_proxy))
            .https(text(&self.https_proxy))
            .no(text(&self.no_proxy))
            .build()
    }
}

impl Proxy {
    /// `host:port`, for messages.
    pub(super) fn name(&self) -> &str {
        self.uri.authority().map_or("the proxy", http::uri::Authority::as_str)
    }

    /// User and password.
    ///
    /// # Errors
    /// When the password's source fails.
    pub(super) async fn login(&self) -> Result<Option<(String, Zeroizing<String>)>, Failure> {
        match &self.login {
            Login::None => Ok(None),
            Login::Given(user, password) => Ok(Some((user.clone(), password.clone()))),
            Login::Held(user, held) => {
                let (secret, _) = held.current().await.map_err(|error| {
                    let failure = Failure::new(
                        Stage::Credential,
                        format!("the proxy's password (--proxy-user) can't be had: {error}"),
                    );
                    match error.hint() {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    }
                })?;
                let password = String::from_utf8_lossy(secret.expose()).into_owned();
                Ok(Some((user.clone(), Zeroizing::new(password))))
            }
        }
    }
}

/// The `Proxy-Authorization` of a login (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let text = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut value = HeaderValue::try_from(text.as_str()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The matcher gives the login of an http proxy only as the header it becomes.
fn decoded(basic: &HeaderValue) -> Option<Login> {
    let token = basic.as_bytes().strip_prefix(b"Basic ")?;
    let pair = Zeroizing::new(BASE64_STANDARD.decode(token).ok()?);
    let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Login::Given(user.to_owned(), Zeroizing::new(password.to_owned())))
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Stage::Configuration, what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn proxy(settings: &Settings, upstream: &str) -> Option<String> {
        let upstream = UpstreamUrl::parse(upstream).unwrap();
        settings.proxy_for(&upstream).unwrap().map(|proxy| proxy.name().to_owned())
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn variables_are_read_as_curl_reads_them() {
        let settings = Settings {
            https_proxy: text("http://secure:1"),
            all_proxy: text("http://all:2"),
            no_proxy: text("example.org, 10.0.0.0/8"),
            ..Settings::default()
        };
        assert_eq!(proxy(&settings, "https://example.com").as_deref(), Some("secure:1"));
        assert_eq!(proxy(&settings, "https://a.example.org"), None);
        assert_eq!(proxy(&settings, "https://10.1.2.3"), None);
        assert_eq!(proxy(&settings, "https://localhost"), None, "loopback is never proxied");
        let all = Settings { https_proxy: None, ..settings };
        assert_eq!(proxy(&all, "https://example.com").as_deref(), Some("all:2"));
    }

    #[test]
    fn the_flag_wins_over_variables_and_loopback() {
        let settings = Settings {
            explicit: text("http://flag:3"),
            https_proxy: text("http://secure:1"),
            no_proxy: text("*"),
            ..Settings::default()
        };
        assert_eq!(proxy(&settings, "https://localhost").as_deref(), Some("flag:3"));
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let upstream = UpstreamUrl::parse("https://example.com").unwrap();
        let settings = Settings { explicit: text("https://proxy:1"), ..Settings::default() };
        let failure = settings.proxy_for(&upstream).unwrap_err();
        assert!(failure.what().contains("https"), "{failure}");
    }

    #[tokio::test]
    async fn a_variables_password_is_used_and_never_shown() {
        let upstream = UpstreamUrl::parse("https://example.com").unwrap();
        for kind in ["http", "socks5h"] {
            let settings = Settings {
                https_proxy: Some(format!("{kind}://joe:hunter2@proxy:1")),
                ..Settings::default()
            };
            let proxy = settings.proxy_for(&upstream).unwrap().unwrap();
            assert!(!format!("{proxy:?}").contains("hunter2"));
            let (user, password) = proxy.login().await.unwrap().unwrap();
            assert_eq!((user.as_str(), password.as_str()), ("joe", "hunter2"));
        }
    }
}
