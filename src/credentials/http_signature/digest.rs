//! `Content-Digest` (RFC 9530): what binds the body to a signature, which covers headers alone.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use sfv::{DictSerializer, KeyRef};

/// How the body is digested. The registry's other algorithms are insecure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The algorithm that the registry has under `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.name() == name)
    }

    /// Its name in the registry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    /// The value of `Content-Digest` for a body.
    pub(super) fn of(self, body: &[u8]) -> String {
        let (algorithm, name) = match self {
            Self::Sha256 => (&SHA256, KeyRef::constant("sha-256")),
            Self::Sha512 => (&SHA512, KeyRef::constant("sha-512")),
        };
        let mut dictionary = DictSerializer::new();
        dictionary.bare_item(name, digest(algorithm, body).as_ref());
        dictionary.finish().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530: whole content (appendix B.1), none (B.2), a part (B.3), the samples of D.
    #[test]
    fn digests_are_those_of_the_rfc() {
        const LINE: &[u8] = b"{\"hello\": \"world\"}\n";
        const PLAIN: &[u8] = b"{\"hello\": \"world\"}";
        for (digest, body, expected) in [
            (Digest::Sha256, LINE, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
            (Digest::Sha256, &LINE[10..], "sha-256=:jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ=:"),
            (Digest::Sha256, b"", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
            (Digest::Sha256, PLAIN, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
            (
                Digest::Sha512,
                PLAIN,
                "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
            ),
        ] {
            assert_eq!(digest.of(body), expected);
        }
    }
}
