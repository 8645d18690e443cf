//! PEM, as it is found in the wild: sections between text, in a file of any line ending.
//!
//! Splits a file into its sections and decodes one at a time into memory that is wiped, since a
//! section may be a private key. What a section means is the caller's business. For a file that
//! does not hold what was asked for, [`Looks`] says what it seems to be.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

/// One section: what stands between its BEGIN and END lines.
pub(super) struct Section<'a> {
    /// `CERTIFICATE`, `PRIVATE KEY` ...
    pub(super) label: &'a str,
    /// The line of its BEGIN, counted from 1.
    pub(super) line: usize,
    body: &'a [u8],
}

/// Why a file is not PEM, and in which line. It never quotes the file: that may be a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Broken {
    #[error("the section {label} that begins in line {line} has no end")]
    Unended { label: String, line: usize },
    #[error("the section {label} that begins in line {line} is not base64")]
    Base64 { label: String, line: usize },
}

impl Section<'_> {
    /// True for a certificate, under the labels that it has had (RFC 7468 section 5.1).
    pub(super) fn is_certificate(&self) -> bool {
        matches!(self.label, "CERTIFICATE" | "X509 CERTIFICATE" | "X.509 CERTIFICATE")
    }

    /// True for a private key that is understood, encrypted or not.
    pub(super) fn is_private_key(&self) -> bool {
        matches!(
            self.label,
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "ENCRYPTED PRIVATE KEY"
        )
    }

    /// The section's bytes.
    pub(super) fn der(&self) -> Result<Zeroizing<Vec<u8>>, Broken> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        text.extend(self.body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let mut der = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        match STANDARD.decode_slice(text.as_slice(), &mut der) {
            Ok(length) if length > 0 => {
                der.truncate(length);
                Ok(der)
            }
            _ => Err(Broken::Base64 { label: self.label.to_owned(), line: self.line }),
        }
    }

    /// True for a key encrypted the way OpenSSL did before PKCS#8 (RFC 1421 section 4.6.1.1).
    pub(super) fn is_encrypted_the_old_way(&self) -> bool {
        memchr::memmem::find(self.body, b"Proc-Type: 4,ENCRYPTED").is_some()
    }
}

/// The sections of a file, in order; text outside them is skipped, as RFC 7468 section 2 allows.
pub(super) fn sections(file: &[u8]) -> Result<Vec<Section<'_>>, Broken> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize, usize)> = None;
    let unended =
        |(label, line, _): (&str, usize, usize)| Broken::Unended { label: label.to_owned(), line };
    let mut position = 0;
    for (number, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let start = position;
        position += line.len();
        if let Some(label) = boundary(line, "-----BEGIN ") {
            if let Some(before) = open.replace((label, number + 1, position)) {
                return Err(unended(before));
            }
        } else if let Some(label) = boundary(line, "-----END ") {
            match open.take() {
                Some((opened, line, from)) if opened == label => {
                    found.push(Section { label, line, body: &file[from..start] });
                }
                Some(other) => return Err(unended(other)),
                None => {}
            }
        }
    }
    open.map_or(Ok(found), |left| Err(unended(left)))
}

/// The label of a BEGIN or END line.
fn boundary<'a>(line: &'a [u8], start: &str) -> Option<&'a str> {
    // Notepad starts files with a byte order mark.
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
    let label = line.strip_prefix(start.as_bytes())?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

/// What a file seems to be that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    Empty,
    PemCertificate,
    TrustedCertificate,
    PemKey,
    PemRequest,
    PemPublicKey,
    PemOther,
    OpenSshKey,
    DerCertificate,
    DerKey,
    Pkcs12,
    JavaKeyStore,
    Unknown,
}

impl Looks {
    /// Looks at the first section, or at the first bytes of a file that has none.
    pub(super) fn at(file: &[u8]) -> Self {
        if file.trim_ascii().is_empty() {
            return Self::Empty;
        }
        if let Some(label) =
            file.split(|byte| *byte == b'\n').find_map(|l| boundary(l, "-----BEGIN "))
        {
            return match label {
                "OPENSSH PRIVATE KEY" => Self::OpenSshKey,
                "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::PemRequest,
                "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
                _ if label.ends_with("CERTIFICATE") => Self::PemCertificate,
                _ if label.ends_with("PRIVATE KEY") => Self::PemKey,
                _ if label.ends_with("PUBLIC KEY") => Self::PemPublicKey,
                _ => Self::PemOther,
            };
        }
        if file.starts_with(&[0xFE, 0xED, 0xFE, 0xED]) {
            return Self::JavaKeyStore;
        }
        match sequence(file) {
            // PFX (RFC 7292 section 4) begins with version 3, private keys with version 0 or 1.
            Some([2, 1, 3, ..]) => Self::Pkcs12,
            Some([2, 1, 0 | 1, ..]) => Self::DerKey,
            Some(_) if X509Certificate::from_der(file).is_ok() => Self::DerCertificate,
            // EncryptedPrivateKeyInfo (RFC 5958 section 3) begins with PBES2 in a sequence.
            Some(inner) if matches!(sequence(inner), Some([6, ..])) => Self::DerKey,
            _ => Self::Unknown,
        }
    }

    /// The words for it, to follow "this looks like".
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Empty => "an empty file",
            Self::PemCertificate => "a certificate",
            Self::TrustedCertificate => "a certificate in OpenSSL's own form",
            Self::PemKey => "a private key",
            Self::PemRequest => "a certificate request",
            Self::PemPublicKey => "a public key",
            Self::PemOther => "PEM of another kind",
            Self::OpenSshKey => "an OpenSSH key",
            Self::DerCertificate => "a certificate in DER",
            Self::DerKey => "a private key in DER",
            Self::Pkcs12 => "PKCS#12",
            Self::JavaKeyStore => "a Java key store",
            Self::Unknown => "no kind of certificate or key",
        }
    }

    /// The command that makes the PEM file that was asked for, where there is one.
    pub(super) fn conversion(self, path: &Path) -> Option<String> {
        let path = path.display();
        match self {
            Self::TrustedCertificate => {
                Some(format!("openssl x509 -in {path} -out certificate.pem"))
            }
            Self::DerCertificate => {
                Some(format!("openssl x509 -inform DER -in {path} -out certificate.pem"))
            }
            Self::DerKey => Some(format!("openssl pkey -inform DER -in {path} -out key.pem")),
            Self::Pkcs12 => Some(format!("openssl pkcs12 -in {path} -nodes -out identity.pem")),
            Self::OpenSshKey => Some(format!("ssh-keygen -p -m PKCS8 -f {path}")),
            Self::JavaKeyStore => Some(format!(
                "keytool -importkeystore -srckeystore {path} -destkeystore identity.p12 \
                 -deststoretype PKCS12"
            )),
            _ => None,
        }
    }
}

/// The next step for PKCS#12 where a client certificate or its key in PEM was asked for.
pub(super) fn takes_pkcs12(path: &Path) -> String {
    format!("--pkcs12 {} takes it, in place of --cert and --key", path.display())
}

/// What is inside a DER or BER SEQUENCE, if the bytes begin with one.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (&[0x30, length], rest) = bytes.split_first_chunk::<2>()? else { return None };
    let more = if length < 0x80 { 0 } else { usize::from(length & 0x7F) };
    rest.get(more..)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sections_stand_between_text_with_any_line_ending() {
        let file = b"\xEF\xBB\xBF-----BEGIN A-----\r\nAAEC\r\nAw==\r\n-----END A-----\r\n\
            subject=x\n-----BEGIN B C----- \n  /w==\n-----END B C-----";
        let found: Vec<_> = sections(file)
            .unwrap()
            .iter()
            .map(|section| {
                (section.label.to_owned(), section.line, section.der().unwrap().to_vec())
            })
            .collect();
        assert_eq!(
            found,
            [("A".to_owned(), 1, vec![0, 1, 2, 3]), ("B C".to_owned(), 6, vec![0xFF])]
        );
    }

    #[test]
    fn half_a_section_is_an_error_with_its_line() {
        let unended = |label: &str, line| Broken::Unended { label: label.into(), line };
        let broken = |file: &'static [u8]| sections(file).err().unwrap();
        assert_eq!(broken(b"\n-----BEGIN A-----\nAAEC\n"), unended("A", 2));
        assert_eq!(broken(b"-----BEGIN A-----\n-----BEGIN B-----\n"), unended("A", 1));
        assert_eq!(broken(b"-----BEGIN A-----\n-----END B-----\n"), unended("A", 1));
    }

    #[test]
    fn what_is_not_base64_is_never_quoted() {
        let file = b"-----BEGIN A-----\ncanary!\n-----END A-----\n";
        let error = sections(file).unwrap()[0].der().unwrap_err();
        assert_eq!(error.to_string(), "the section A that begins in line 1 is not base64");
        let empty = b"-----BEGIN A-----\n-----END A-----\n";
        assert!(sections(empty).unwrap()[0].der().is_err());
    }

    #[test]
    fn tells_what_a_file_looks_like() {
        for (file, looks) in [
            (b" \n".as_slice(), Looks::Empty),
            (b"-----BEGIN EC PRIVATE KEY-----\n", Looks::PemKey),
            (b"text\n-----BEGIN TRUSTED CERTIFICATE-----\n", Looks::TrustedCertificate),
            (b"-----BEGIN X509 CERTIFICATE-----\n", Looks::PemCertificate),
            (b"-----BEGIN CERTIFICATE REQUEST-----\n", Looks::PemRequest),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", Looks::OpenSshKey),
            (b"\x30\x82\x09\xD1\x02\x01\x03\x30", Looks::Pkcs12),
            (b"\x30\x2E\x02\x01\x00\x30\x05", Looks::DerKey),
            (b"\x30\x40\x30\x10\x06\x09", Looks::DerKey),
            (b"\xFE\xED\xFE\xED\x00", Looks::JavaKeyStore),
            (b"hello", Looks::Unknown),
        ] {
            assert_eq!(Looks::at(file), looks);
        }
    }
}
