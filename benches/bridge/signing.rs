//! What a credential costs a call: the bridge with it against the same bridge without, in turns, all
//! of it on one core, with equal requests.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use crate::{
    Outcome,
    call::{Call, Era, INITIALIZE, INITIALIZED, padded},
    certificates::Certificates,
    effort::Effort,
    pipe::Pipe,
    sides::{self, Http},
};

const KIB: usize = 1024;

/// A credential, and the size of the requests it is measured on.
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    flags: &'static [&'static str],
    body: usize,
}

/// The rows, in their order; `DIR` is where the keys are.
pub(crate) const COSTS: [Cost; 6] = [
    Cost {
        name: "JWT, ES256, cached, 1 KiB",
        flags: &["--jwt", "alg=ES256,key=file:DIR/p256.key,iss=bench,aud=bench"],
        body: KIB,
    },
    Cost {
        name: "JWT, ES256, one a request, 1 KiB",
        flags: &["--jwt", "alg=ES256,key=file:DIR/p256.key,iss=bench,aud=bench,per_request=true"],
        body: KIB,
    },
    Cost {
        name: "JWT, RS256 with 2048 bits, one a request, 1 KiB",
        flags: &["--jwt", "alg=RS256,key=file:DIR/rsa.key,iss=bench,aud=bench,per_request=true"],
        body: KIB,
    },
    Cost {
        name: "HMAC-SHA256 over 1 KiB",
        flags: &["--hmac", "preset=timestamp-body,key=file:DIR/shared.key"],
        body: KIB,
    },
    Cost {
        name: "HMAC-SHA256 over 1 MiB",
        flags: &["--hmac", "preset=timestamp-body,key=file:DIR/shared.key"],
        body: KIB * KIB,
    },
    Cost {
        name: "HTTP signature, Ed25519 with Content-Digest, 1 KiB",
        flags: &["--http-signature", "alg=ed25519,key=file:DIR/ed25519.key,keyid=bench"],
        body: KIB,
    },
];

/// The keys of [`COSTS`].
pub(crate) fn make_keys(directory: &Path) -> Outcome<()> {
    let write = |name: &str, content: &str| -> Outcome<()> {
        let path = directory.join(name).with_extension("key");
        fs::write(&path, content)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
    };
    for (name, algorithm) in [
        ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("rsa", &rcgen::PKCS_RSA_SHA256),
        ("ed25519", &rcgen::PKCS_ED25519),
    ] {
        write(name, &rcgen::KeyPair::generate_for(algorithm)?.serialize_pem())?;
    }
    write("shared", "a secret that both sides share")
}

/// Medians of a call's time in microseconds, without the credential and with it; the lower quartile
/// of all rounds.
pub(crate) async fn measure(
    cost: &Cost,
    (program, certificates, port): (&Path, &Certificates, u16),
    effort: Effort,
) -> Outcome<[f64; 2]> {
    let bare = sides::command(program, certificates, port, Http::One);
    let mut signing = sides::command(program, certificates, port, Http::One);
    let directory = certificates.path().to_str().ok_or("the directory has no text")?;
    signing.args(cost.flags.iter().map(|flag| flag.replace("DIR", directory)));
    let mut pipes = [open(bare).await?, open(signing).await?];
    let calls = (effort.sequential * KIB / cost.body).clamp(20, effort.sequential);
    let mut medians = [Vec::new(), Vec::new()];
    for _ in 0..effort.rounds {
        for (pipe, medians) in pipes.iter_mut().zip(&mut medians) {
            let mut times = Vec::with_capacity(calls);
            for id in 1..=calls {
                let request = padded(id, Call::SMALL, Era::Legacy, cost.body);
                let started = Instant::now();
                pipe.send(request).await?;
                pipe.response().await?;
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            medians.push(times[calls / 2]);
        }
    }
    for pipe in pipes {
        pipe.close().await?;
    }
    Ok(medians.map(|mut medians| {
        medians.sort_by(f64::total_cmp);
        medians[medians.len() / 4]
    }))
}

async fn open(command: tokio::process::Command) -> Outcome<Pipe> {
    let mut pipe = Pipe::spawn(command)?;
    pipe.send(INITIALIZE.to_owned()).await?;
    pipe.response().await?;
    pipe.send(INITIALIZED.to_owned()).await?;
    Ok(pipe)
}
