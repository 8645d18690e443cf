//! Every kind of credential is replaced on disk while two hundred calls are under way, and the old
//! one is refused from a moment on. What must hold: no call fails that could have succeeded, none runs
//! twice, what is refused is renewed once for all, and a replacement that is broken changes nothing.

mod certificates;
#[cfg(feature = "keyring")]
mod keyring;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod signers;
#[cfg(feature = "spiffe")]
mod spiffe;
mod tokens;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    jsonrpc::Client,
    pki::Pki,
    process::{Countersign, DEADLINE},
    script::{Fault, Rule},
    upstream::{Seen, Upstream},
};

/// Held by the upstream when the rotation happens, and sent after it.
const HELD: usize = 100;
const AFTER: usize = 100;

/// A file that is replaced in one of the two ways of the world.
enum Replaced {
    /// Truncated and written, as editors and scripts do.
    Written(PathBuf),
    /// Behind a link that is swapped, as Kubernetes does.
    Swapped { folder: PathBuf, name: &'static str, versions: usize },
}

impl Replaced {
    /// Both ways, with `content` in a file called `name`.
    fn both(folder: &Path, name: &'static str, content: &str) -> [Self; 2] {
        let written = folder.join(name);
        fs::write(&written, content).unwrap();
        let mount = folder.join("mount");
        fs::create_dir(&mount).unwrap();
        let mut swapped = Self::Swapped { folder: mount.clone(), name, versions: 0 };
        swapped.put(content);
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
        [Self::Written(written), swapped]
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Written(path) => path.clone(),
            Self::Swapped { folder, name, .. } => folder.join(name),
        }
    }

    fn put(&mut self, content: &str) {
        match self {
            Self::Written(path) => fs::write(path, content).unwrap(),
            Self::Swapped { folder, name, versions } => {
                *versions += 1;
                let version = folder.join(format!("..{versions}"));
                fs::create_dir(&version).unwrap();
                fs::write(version.join(name), content).unwrap();
                symlink(format!("..{versions}"), folder.join("..next")).unwrap();
                fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
            }
        }
    }
}

/// A session under rotation.
struct Rotation {
    client: Client,
    upstream: Upstream,
    sent: usize,
}

impl Rotation {
    /// Opens a session of `program`, which speaks to `upstream`.
    fn start(upstream: Upstream, program: &Countersign) -> Self {
        let mut client = Client::start(program);
        client.handshake();
        upstream.wait_for_listener();
        Self { client, upstream, sent: 0 }
    }

    /// Calls are held, `replace` replaces the credential, and everything but what `is_new` accepts is
    /// refused with `status` from then on; yet every call has its result, and ran once.
    fn survives(
        &mut self,
        status: u16,
        replace: impl FnOnce(&Self),
        is_new: impl Fn(&Seen) -> bool + Clone + Send + Sync + 'static,
    ) {
        let gate = format!("gate-{}", self.sent);
        let held: Vec<Value> =
            (0..HELD).map(|_| self.client.call("wait", json!({"gate": gate}))).collect();
        let waits = |seen: &Seen| seen.tool() == Some("wait");
        let before = self.sent / AFTER + 1;
        let all = |seen: &[Seen]| seen.iter().filter(|seen| waits(seen)).count() >= before * HELD;
        self.upstream.wait_for(all);
        replace(self);
        let (client, upstream) = (&mut self.client, &self.upstream);
        upstream.clear_script();
        let accepted = is_new.clone();
        upstream
            .script(Rule::matching(move |seen| !accepted(seen)).always(), Fault::status(status));
        let numbers = self.sent..self.sent + AFTER;
        self.sent += AFTER;
        let after: Vec<Value> =
            numbers.clone().map(|n| client.call("count", json!({"n": n}))).collect();
        for id in &after {
            client.result(id);
        }
        upstream.release(&gate);
        for id in &held {
            client.result(id);
        }
        assert!(numbers.clone().all(|n| upstream.ran(n as u64) == 1));
        let last = upstream.posts("tools/call").pop().unwrap();
        assert!(is_new(&last), "{last:?}");
    }

    /// `replace` puts something there that can't be used: calls go on with what there was, and the
    /// log says so once.
    fn keeps_the_last_good_one(&mut self, complaint: &str, replace: impl FnOnce()) {
        let before = self.client.process.stderr().matches(complaint).count();
        replace();
        // Files are looked at once a second at most, and only when someone asks.
        let until = Instant::now() + DEADLINE;
        while self.client.process.stderr().matches(complaint).count() == before {
            assert!(Instant::now() < until, "{complaint:?} was never said");
            self.client.tool("echo", json!({}));
        }
        for _ in 0..20 {
            self.client.tool("echo", json!({}));
        }
        assert_eq!(self.client.process.stderr().matches(complaint).count(), before + 1);
    }

    /// The log has these words so many times. The answers may be here before what was said on the
    /// way.
    fn says(&self, words: &str, times: usize) {
        let said = || self.client.process.stderr().matches(words).count();
        let until = Instant::now() + DEADLINE;
        while said() < times && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(said(), times, "{words:?}");
    }

    fn finish(self) {
        assert_eq!(self.client.finish(), [] as [Value; 0]);
        assert_eq!(self.upstream.posts("initialize").len(), 1);
    }
}

/// The program with a profile of these keys, loud enough to say what it reads again.
fn with_profile(pki: &Pki, upstream: &Upstream, folder: &Path, profile: &str) -> Countersign {
    let config = folder.join("countersign.toml");
    fs::write(&config, format!("[profile.default]\n{profile}\n")).unwrap();
    Client::bridge(pki, upstream).arg("-v").arg("--config").arg(config)
}

/// The whole story of a secret in a file, in both ways of replacing it: rotated under load, then
/// broken. `profile` has FILE where its path belongs.
fn a_file_is_rotated(
    (name, old, new, broken): (&'static str, &str, &str, &str),
    complaint: &str,
    status: u16,
    profile: &str,
    is_new: impl Fn(&Seen) -> bool + Clone + Send + Sync + 'static,
) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    for mut file in Replaced::both(folder.path(), name, old) {
        let upstream = Upstream::mutual(&pki);
        let profile = profile.replace("FILE", file.path().to_str().unwrap());
        let program = with_profile(&pki, &upstream, folder.path(), &profile);
        let mut rotation = Rotation::start(upstream, &program);
        rotation.survives(status, |_| file.put(new), is_new.clone());
        // One refresh for all.
        rotation.says("read again", 1);
        rotation.keeps_the_last_good_one(complaint, || file.put(broken));
        rotation.finish();
    }
}
