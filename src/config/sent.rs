//! What was said of the things that are sent with each request: a file a kind, each of which reads
//! it, names the headers it owns and makes settings of it.

mod aws_sigv4;
mod headers_helper;
mod hmac;
mod http_signature;
mod jwt;

use crate::secret::Reference;

use super::place::Login;

pub(super) use self::{
    aws_sigv4::Said as AwsSigv4, headers_helper::Said as Helper, hmac::Said as Hmac,
    http_signature::Said as HttpSignature, jwt::Said as Jwt,
};

/// Something to send with each request.
pub(super) enum Sent {
    Header { name: String, value: String },
    ApiKey { name: String, key: Reference },
    Bearer(Reference),
    Basic(Login),
    Helper(Helper),
    Jwt(Jwt),
    Hmac(Hmac),
    HttpSignature(HttpSignature),
    AwsSigv4(AwsSigv4),
}

impl Sent {
    /// The headers it owns, in lower case. Those of a helper are known when it has run.
    pub(super) fn headers(&self) -> Vec<String> {
        let headers = match self {
            Self::Header { name, .. } | Self::ApiKey { name, .. } => vec![name.clone()],
            Self::Bearer(_) | Self::Basic(_) => vec!["authorization".to_owned()],
            Self::Helper(said) => said.headers(),
            Self::Jwt(said) => said.headers(),
            Self::Hmac(said) => said.headers(),
            Self::HttpSignature(said) => said.headers(),
            Self::AwsSigv4(said) => said.headers(),
        };
        headers.into_iter().map(|name| name.to_ascii_lowercase()).collect()
    }

    /// Whether both set the same header, or are of a kind that there is one of.
    pub(super) fn collides(&self, other: &Self) -> Option<String> {
        let theirs = other.headers();
        let shared = self.headers().into_iter().find(|header| theirs.contains(header));
        shared.map(|header| format!("the header {header}")).or_else(|| {
            let single = !matches!(self, Self::Header { .. } | Self::ApiKey { .. });
            let same = std::mem::discriminant(self) == std::mem::discriminant(other);
            (single && same).then(|| "the same kind of credential".to_owned())
        })
    }
}
