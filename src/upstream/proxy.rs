//! Which proxy stands before the upstream, if any.
//!
//! `--proxy` is always used; the environment's proxies are read as curl reads them, and never for
//! an upstream on this machine. A proxy's password is never logged and in no error; one in the
//! environment's URL is how that variable is used, one in an argument is refused.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use zeroize::Zeroizing;

use super::url::{UpstreamUrl, authority};
use crate::{
    failure::{Failure, Stage},
    secret::{Held, Secret},
};

/// What was said about proxies. `Debug` shows no URL, since the environment's may hold a password.
#[derive(Clone, Default)]
pub struct Settings {
    /// The URL given with `--proxy`.
    pub explicit: Option<String>,
    /// The user and the password given with `--proxy-user`.
    pub credentials: Option<(String, Held)>,
    /// `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// `ALL_PROXY`.
    pub all_proxy: Option<String>,
    /// `NO_PROXY`: what is reached directly, whatever the two before say.
    pub no_proxy: Option<String>,
}

impl Settings {
    /// The proxy on the way to `upstream`.
    ///
    /// # Errors
    ///
    /// At [`Stage::Configuration`]: its URL does not hold, has a password where none belongs, or
    /// is of a kind that is not spoken here.
    pub(super) fn choose(&self, upstream: &UpstreamUrl) -> Result<Option<Proxy>, Failure> {
        let (place, url) = match (&self.explicit, &self.https_proxy, &self.all_proxy) {
            (Some(url), _, _) => ("--proxy", url),
            _ if upstream.is_loopback() => return Ok(None),
            (None, Some(url), _) => ("HTTPS_PROXY", url),
            (None, None, Some(url)) => ("ALL_PROXY", url),
            (None, None, None) => return Ok(None),
        };
        let matched = Matcher::builder().all(url.as_str()).build().intercept(upstream.uri());
        let Some(matched) = matched else {
            return Err(refused(format!(
                "{place}: expected the URL of a proxy, found something else"
            ))
            .hint("write it as http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT"));
        };
        let login = self.login(place, &matched)?;
        let Some(proxy) = Proxy::new(&matched, login) else {
            return Err(refused(format!("{place}: this kind of proxy is not spoken here"))
                .hint("http, https, socks5 and socks5h are"));
        };
        let excepted =
            self.no_proxy.as_ref().filter(|_| self.explicit.is_none()).is_some_and(|no| {
                let matcher =
                    Matcher::builder().all("http://proxy.invalid").no(no.as_str()).build();
                matcher.intercept(upstream.uri()).is_none()
            });
        if excepted {
            tracing::debug!(%proxy, "NO_PROXY has the upstream: no proxy");
            return Ok(None);
        }
        Ok(Some(proxy))
    }

    fn login(&self, place: &str, matched: &Intercept) -> Result<Login, Failure> {
        let stated = match (matched.basic_auth(), matched.raw_auth()) {
            (Some(value), _) => Login::Header(value.clone()),
            (None, Some((user, password))) => {
                Login::Pair(user.to_owned(), Secret::new(password).into())
            }
            (None, None) => Login::None,
        };
        if self.explicit.is_some() && !matches!(stated, Login::None) {
            return Err(refused(format!("{place}: the URL has a user or a password in it"))
                .hint("remove it, and give --proxy-user USER:REFERENCE"));
        }
        Ok(match &self.credentials {
            Some((user, password)) => Login::Held(user.clone(), password.clone()),
            None => stated,
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("explicit", &self.explicit.is_some())
            .field("credentials", &self.credentials.is_some())
            .field("https_proxy", &self.https_proxy.is_some())
            .field("all_proxy", &self.all_proxy.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// A proxy to go through. `Display` is its `host:port`.
pub(super) struct Proxy {
    pub(super) kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    login: Login,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONNECT over TCP.
    Http,
    /// CONNECT over TLS.
    Https,
    /// SOCKS 5 with the upstream's address, looked up here.
    Socks5,
    /// SOCKS 5 with the upstream's name, looked up by the proxy.
    Socks5h,
}

/// Who we are to the proxy.
enum Login {
    None,
    /// `Basic ...`, from the environment's URL.
    Header(HeaderValue),
    /// From the environment's URL too, for proxies without headers.
    Pair(String, Arc<Secret>),
    Held(String, Held),
}

impl Proxy {
    fn new(matched: &Intercept, login: Login) -> Option<Self> {
        let (kind, default_port) = match matched.uri().scheme_str()? {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" => (Kind::Socks5h, 1080),
            _ => return None,
        };
        let host = matched.uri().host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = matched.uri().port_u16().unwrap_or(default_port);
        Some(Self { kind, host, port, login })
    }

    /// Whether there is anything to authenticate with.
    pub(super) fn has_login(&self) -> bool {
        !matches!(self.login, Login::None)
    }

    /// The value of `Proxy-Authorization` (RFC 9110, section 11.7.2).
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        if let Login::Header(value) = &self.login {
            return Ok(Some(value.clone()));
        }
        let Some((user, password)) = self.pair().await? else { return Ok(None) };
        let mut pair = Zeroizing::new(Vec::with_capacity(user.len() + password.expose().len() + 1));
        pair.extend_from_slice(user.as_bytes());
        pair.push(b':');
        pair.extend_from_slice(password.expose());
        let text = Zeroizing::new(format!("Basic {}", *Zeroizing::new(STANDARD.encode(&*pair))));
        let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
            Failure::new(Stage::Credential, "the user of --proxy-user can't be sent in a header")
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The user and the password, where they are known apart.
    pub(super) async fn pair(&self) -> Result<Option<(&str, Arc<Secret>)>, Failure> {
        match &self.login {
            Login::None | Login::Header(_) => Ok(None),
            Login::Pair(user, password) => Ok(Some((user, Arc::clone(password)))),
            Login::Held(user, held) => match held.current().await {
                Ok((password, _)) => Ok(Some((user, password))),
                Err(error) => {
                    let what = format!("no password for the proxy {self} (--proxy-user): {error}");
                    let failure = Failure::new(Stage::Credential, what);
                    Err(match error.hint() {
                        Some(hint) => failure.hint(hint).caused_by(error),
                        None => failure.caused_by(error),
                    })
                }
            },
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

fn refused(what: String) -> Failure {
    Failure::new(Stage::Configuration, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const UPSTREAM: &str = "https://mcp.corp.example/mcp";

    fn settings(explicit: &str, https: &str, all: &str, no: &str) -> Settings {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Settings {
            explicit: said(explicit),
            credentials: None,
            https_proxy: said(https),
            all_proxy: said(all),
            no_proxy: said(no),
        }
    }

    fn chosen(settings: &Settings, upstream: &str) -> Option<String> {
        let proxy = settings.choose(&UpstreamUrl::parse(upstream).unwrap()).unwrap();
        proxy.map(|proxy| format!("{:?} {proxy}", proxy.kind))
    }

    #[test]
    fn the_first_that_is_said_is_taken() {
        let all = settings("http://p.example:1", "http://q.example:2", "http://r.example:3", "");
        assert_eq!(chosen(&all, UPSTREAM).unwrap(), "Http p.example:1");
        let environment = Settings { explicit: None, ..all };
        assert_eq!(chosen(&environment, UPSTREAM).unwrap(), "Http q.example:2");
        let last = Settings { https_proxy: None, ..environment };
        assert_eq!(chosen(&last, UPSTREAM).unwrap(), "Http r.example:3");
        assert_eq!(chosen(&Settings::default(), UPSTREAM), None);
    }

    #[test]
    fn proxies_are_read_as_people_write_them() {
        for (given, meant) in [
            ("p.example:3128", "Http p.example:3128"),
            ("http://p.example", "Http p.example:80"),
            ("https://p.example", "Https p.example:443"),
            ("socks5://p.example", "Socks5 p.example:1080"),
            ("socks5h://[::1]:9050", "Socks5h [::1]:9050"),
            ("http://p.example:3128/ignored", "Http p.example:3128"),
        ] {
            assert_eq!(chosen(&settings(given, "", "", ""), UPSTREAM).unwrap(), meant, "{given}");
        }
        for given in ["ftp://p.example", "socks4://p.example", "http://", "a b"] {
            let failure = settings(given, "", "", "")
                .choose(&UpstreamUrl::parse(UPSTREAM).unwrap())
                .map(drop)
                .unwrap_err();
            assert_eq!(failure.stage(), Stage::Configuration, "{given}");
            assert!(failure.what().contains("--proxy"), "{failure}");
        }
    }

    #[test]
    fn no_proxy_excepts_hosts_domains_and_networks() {
        let with = |no| settings("", "http://p.example:1", "", no);
        for no in ["*", "corp.example", ".corp.example", "x, MCP.corp.example"] {
            assert_eq!(chosen(&with(no), UPSTREAM), None, "{no}");
        }
        assert_eq!(chosen(&with("10.0.0.0/8"), "https://10.1.2.3/"), None);
        for no in ["orp.example", "other.example", "10.0.0.0/8"] {
            assert!(chosen(&with(no), UPSTREAM).is_some(), "{no}");
        }
        let explicit = settings("http://p.example:1", "", "", "*");
        assert!(chosen(&explicit, UPSTREAM).is_some(), "what is said for this run comes first");
    }

    #[test]
    fn this_machine_is_proxied_only_when_told_to() {
        for upstream in ["http://127.0.0.1:8080/", "https://localhost:8443/", "https://[::1]/"] {
            let environment = settings("", "http://p.example:1", "http://p.example:1", "");
            assert_eq!(chosen(&environment, upstream), None);
            let told = settings("http://p.example:1", "", "", "");
            assert!(chosen(&told, upstream).is_some());
        }
    }

    #[tokio::test]
    async fn a_password_comes_from_the_environment_and_not_from_an_argument() {
        let upstream = UpstreamUrl::parse(UPSTREAM).unwrap();
        let url = "http://Aladdin:open%20sesame@p.example:1";
        let environment = settings("", url, "", "");
        let proxy = environment.choose(&upstream).unwrap().unwrap();
        let value = proxy.authorization().await.unwrap().unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert!(!format!("{environment:?} {proxy}").contains("sesame"));

        let failure = settings(url, "", "", "").choose(&upstream).map(drop).unwrap_err();
        assert!(failure.next_step().unwrap().contains("--proxy-user"));
        assert!(!format!("{failure:?}").contains("sesame"));
    }

    #[tokio::test]
    async fn a_referenced_password_replaces_that_of_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "open sesame\n").unwrap();
        let held = Held::open(format!("file:{}", file.display()).parse().unwrap()).unwrap();
        let settings = Settings {
            credentials: Some(("Aladdin".to_owned(), held)),
            ..settings("", "http://other:canary@p.example:1", "", "")
        };
        let proxy = settings.choose(&UpstreamUrl::parse(UPSTREAM).unwrap()).unwrap().unwrap();
        let value = proxy.authorization().await.unwrap().unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
