//! What of a head belongs to one hop alone, and what a caller says of itself: neither goes on.
//!
//! The connection's headers are each side's own (RFC 9110, section 7.6.1). Whoever is asked upstream
//! believes a proxy's word about the caller, so the caller's own such words end here: they would be
//! taken for ours.

use http::{HeaderMap, HeaderName, header};

/// The connection's, whether `Connection` names it or not.
fn is_of_the_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What a caller is not asked: who it is to the upstream, which way it came, which path it means.
fn is_of_the_caller(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "cookie"
            | "cookie2"
            | "forwarded"
            | "x-forwarded"
            | "via"
            | "expect"
            | "x-real-ip"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "x-original-forwarded-for"
            | "x-appengine-user-ip"
            | "true-client-ip"
            | "fastly-client-ip"
            | "cf-connecting-ip"
            | "cf-connecting-ipv6"
            | "client-ip"
            | "x-client-cert"
            | "x-client-dn"
            | "x-client-verify"
            | "x-arr-clientcert"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-original-host"
            | "x-original-uri"
            | "x-authenticated-user"
            | "x-authenticated-userid"
            | "x-authenticated-scope"
            | "x-authenticated-groups"
            | "x-credential-identifier"
            | "x-credential-username"
            | "x-anonymous-consumer"
    ) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// The same by the beginnings of their names.
const BEGINNINGS: [&str; 23] = [
    "x-forwarded-",
    "x-envoy-",
    "x-ssl-client",
    "x-ssl-cert",
    "ssl-client",
    "client-cert",
    "x-client-cert-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-webauth-",
    "x-goog-iap-",
    "x-goog-authenticated-user-",
    "x-ms-client-principal",
    "x-ms-token-",
    "cf-access-",
    "tailscale-",
    "x-consumer-",
    "x-pomerium-",
    "x-authentik-",
    "remote-",
    "x-remote-",
    "x-vouch-",
];

/// Whether a name is one to all who read it. CGI and what follows it (WSGI, Rack, PHP) make every
/// character but letters and digits a `_`: `X_Forwarded_For` is `X-Forwarded-For` there, which no
/// list would know it by.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
}

/// Takes from a request what does not go on. The body goes on whole: its length is said anew, and what
/// follows it is not sent.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    let of_the_body = |name: &str| matches!(name, "content-length" | "trailer" | "host");
    let is_odd = |name: &str| {
        let is_odd = !is_plain(name);
        if is_odd {
            tracing::debug!(name, "a header is not carried: others may read its name as another's");
        }
        is_odd
    };
    strip(headers, |name| of_the_body(name) || is_of_the_caller(name) || is_odd(name));
}

/// Takes from a response what does not go on. Cookies stay here: they are kept for the upstream,
/// and one that a caller sent would not be believed.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    strip(headers, |name| name == "set-cookie");
}

/// What is there is few, what must not be is many: so each name that is there is looked at, once.
fn strip(headers: &mut HeaderMap, more: impl Fn(&str) -> bool) {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = values.flat_map(|value| value.split(',')).map(str::trim);
    // Nearly all that is ever said names no header of its own.
    let named = named.filter(|name| !matches!(*name, "keep-alive" | "close"));
    let mut doomed: Vec<HeaderName> = named.filter_map(|name| name.parse().ok()).collect();
    let is_doomed = |name: &&HeaderName| is_of_the_connection(name.as_str()) || more(name.as_str());
    doomed.extend(headers.keys().filter(is_doomed).cloned());
    for name in doomed {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_caller_says_nothing_of_itself() {
        let mut said = headers(&[
            ("authorization", "Bearer theirs"),
            ("Cookie", "session=theirs"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-Client-Cert", "Subject=\"CN=admin\""),
            ("Forwarded", "for=10.0.0.1"),
            ("X-Real-IP", "10.0.0.1"),
            ("X-SSL-Client-Verify", "SUCCESS"),
            ("Client-Cert", ":abc:"),
            ("X-Remote-User", "root"),
            ("X-Original-URL", "/admin"),
            ("accept", "text/event-stream"),
            ("x-tenant", "acme"),
        ]);
        strip_request(&mut said);
        assert_eq!(said, headers(&[("accept", "text/event-stream"), ("x-tenant", "acme")]));
    }

    #[test]
    fn no_name_passes_that_some_read_as_another() {
        let names = ["X_Forwarded_For", "Remote_User", "x_tenant", "Mcp_Session_Id", "x-a_b"];
        let mut said: HeaderMap = headers(&names.map(|name| (name, "theirs")));
        said.extend(headers(&[("X.Real.IP", "theirs"), ("x-tenant", "acme")]));
        strip_request(&mut said);
        assert_eq!(said, headers(&[("x-tenant", "acme")]));
        // The upstream's names are for the caller to judge.
        let mut said = headers(&[("x_request", "1")]);
        strip_response(&mut said);
        assert_eq!(said.len(), 1);
    }

    #[test]
    fn what_gateways_say_of_who_they_let_in_is_not_the_callers_to_say() {
        for name in [
            "X-ARR-ClientCert",
            "Cf-Access-Jwt-Assertion",
            "Cf-Access-Authenticated-User-Email",
            "X-Forwarded",
            "Tailscale-User-Login",
            "X-Consumer-Username",
            "Ssl-Client-S-DN",
            "SSL-Client-Cert",
            "X-SSL-Cert",
            "Client-Cert-Chain",
            "Remote-User",
            "Remote-Groups",
            "X-Amzn-Oidc-Data",
            "X-Goog-Authenticated-User-Email",
            "X-MS-Client-Principal-Id",
            "X-Pomerium-Claim-Email",
        ] {
            let mut said = headers(&[(name, "theirs")]);
            strip_request(&mut said);
            assert!(said.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_connection_keeps_what_is_its_own() {
        let own = [
            ("connection", "close, X-Hop"),
            ("connection", "keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("mcp-session-id", "s"),
        ];
        for strip in [strip_request, strip_response] {
            let mut said = headers(&own);
            strip(&mut said);
            assert_eq!(said, headers(&[("mcp-session-id", "s")]));
        }
        let mut said = headers(&[("set-cookie", "a=b"), ("content-length", "3")]);
        strip_response(&mut said);
        assert_eq!(said, headers(&[("content-length", "3")]));
    }
}
