//! The certificate that a token shows, read again when its file changes.
//!
//! It is no secret, so it is not kept like one. Whether it belongs to the key is not decided here,
//! and neither is whether it is in date: the upstream decides that.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::Instant;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::{Generation, derived::Unfit};
use crate::failure::{Failure, Stage};

/// How long a certificate is used before its file is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// No chain is larger; what is larger is the wrong file.
const LIMIT: u64 = 256 * 1024;

/// A certificate, and what of it a token shows.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it is, with its chain behind it: PEM.
    pub path: PathBuf,
    /// Whether the header has the whole chain (RFC 7515, section 4.1.6).
    pub x5c: bool,
    /// Whether the header has the certificate's thumbprint (RFC 7515, section 4.1.8).
    pub x5t_s256: bool,
}

/// A certificate and those that vouch for it, in the order of the file.
#[derive(PartialEq, Eq)]
pub(super) struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    /// The public key of the first, as it stands there.
    pub(super) public: Vec<u8>,
}

impl Chain {
    pub(super) fn read(pem: &[u8]) -> Result<Self, Unfit> {
        let broken = || {
            Unfit::new(
                "holds a certificate that is broken",
                "openssl x509 -in FILE -noout -text shows whether it can be read",
            )
        };
        let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|_| broken())?;
        let Some(first) = certificates.first() else {
            return Err(Unfit::new(
                "holds no certificate in PEM",
                "expected a file with -----BEGIN CERTIFICATE-----",
            ));
        };
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| broken())?;
        let public = parsed.public_key().subject_public_key.data.to_vec();
        Ok(Self { certificates, public })
    }

    /// In base64, not base64url: RFC 7515, section 4.1.6, says so.
    pub(super) fn x5c(&self) -> Vec<String> {
        self.certificates.iter().map(|der| STANDARD.encode(der)).collect()
    }

    /// Of the first.
    pub(super) fn thumbprint(&self) -> String {
        let first = self.certificates.first().map_or(&[][..], |der| der.as_ref());
        URL_SAFE_NO_PAD.encode(digest(&SHA256, first))
    }
}

/// A chain in a file.
pub(super) struct Watched {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    good: Option<(Arc<Chain>, Generation)>,
    looked: Option<Instant>,
    /// Whether the last look failed: said once, not at every look.
    failing: bool,
}

impl Watched {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The chain and its generation, after a look at the file when one is due.
    ///
    /// Fails at `stage`, when none was ever good.
    pub(super) fn current(
        &self,
        now: Instant,
        stage: Stage,
    ) -> Result<(Arc<Chain>, Generation), Failure> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_EVERY);
        if let Some((chain, generation)) = &state.good
            && !due
        {
            return Ok((Arc::clone(chain), *generation));
        }
        state.looked = Some(now);
        let failure = match (read(&self.path), &state.good) {
            (Ok(chain), Some((known, _))) if chain == **known => None,
            (Ok(chain), known) => {
                let generation = known.as_ref().map_or(1, |(_, generation)| generation + 1);
                state.good = Some((Arc::new(chain), generation));
                None
            }
            (Err(Unfit { what, hint }), _) => {
                let what = format!("the certificate {} {what}", self.path.display());
                Some(Failure::new(stage, what).hint(hint))
            }
        };
        let complained = std::mem::replace(&mut state.failing, failure.is_some());
        match (&state.good, failure) {
            (Some((chain, generation)), failure) => {
                if let Some(failure) = failure.filter(|_| !complained) {
                    tracing::warn!("{failure}; the last stays in use");
                }
                Ok((Arc::clone(chain), *generation))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::new(stage, "no certificate was read")),
        }
    }

    /// Has the next look at once: what it gave was refused.
    pub(super) fn doubt(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).looked = None;
    }
}

fn read(path: &Path) -> Result<Chain, Unfit> {
    let read = || {
        let file = fs::File::open(path)?;
        let mut pem = Vec::new();
        if file.take(LIMIT + 1).read_to_end(&mut pem)? as u64 > LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(pem)
    };
    let unreadable = |error: io::Error| {
        Unfit::new(format!("can't be read: {error}"), "check the path and who may read the file")
    };
    // Opening a pipe would wait for a writer, and with it everyone.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Chain::read(&read().map_err(unreadable)?),
        Ok(_) => Err(Unfit::new("is no file", "name the file with the certificate")),
        Err(error) => Err(unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn certificate() -> String {
        rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn a_file_that_changes_is_read_again_and_a_broken_one_keeps_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.pem");
        let watched = Watched::new(path.clone());
        let start = Instant::now();
        let look = |seconds| {
            let now = start + Duration::from_secs(seconds);
            watched.current(now, Stage::Configuration).map(|(_, generation)| generation)
        };
        let failure = look(0).unwrap_err();
        assert!(failure.what().contains("c.pem can't be read"), "{failure}");
        fs::write(&path, certificate()).unwrap();
        assert_eq!(look(0).unwrap(), 1, "where there is none, none is waited for");
        fs::write(&path, certificate()).unwrap();
        assert_eq!(look(0).unwrap(), 1, "looked at once a second at most");
        watched.doubt();
        assert_eq!(look(0).unwrap(), 2, "or when it was refused");
        fs::write(&path, "").unwrap();
        assert_eq!(look(1).unwrap(), 2);
        fs::remove_file(&path).unwrap();
        assert_eq!(look(2).unwrap(), 2);
        fs::write(&path, certificate() + &certificate()).unwrap();
        assert_eq!(look(3).unwrap(), 3);
        assert_eq!(look(4).unwrap(), 3, "the same is the same");
    }

    #[test]
    fn what_is_no_certificate_is_said_to_be_none() {
        for (pem, words) in [
            ("", "holds no certificate"),
            ("canary", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is broken"),
            ("-----BEGIN CERTIFICATE-----\ncanary\n", "is broken"),
        ] {
            let unfit = Chain::read(pem.as_bytes()).err().unwrap();
            assert!(unfit.what.contains(words), "{pem}: {}", unfit.what);
        }
    }
}
