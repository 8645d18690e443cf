//! A secret that a program prints, all of it but for the newline at the end.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

use super::{Error, Hidden, Program, READ_AT_MOST, Reference, Secret};

/// The program of a `command:` reference. Cheap to clone.
#[derive(Clone)]
pub(super) struct Printer(Arc<Inner>);

struct Inner {
    reference: Reference,
    program: Program,
    /// What it printed the last time: one that fails may name the token that it could not renew.
    last: Mutex<Option<Secret>>,
}

impl Printer {
    pub(super) fn new(reference: Reference, argv: Vec<String>) -> Self {
        let program = Program::new(format!("the program of {reference}"), argv, READ_AT_MOST);
        Self(Arc::new(Inner { reference, program, last: Mutex::new(None) }))
    }

    /// Runs it to its end.
    ///
    /// Errors when it can't be started, fails, prints nothing or too much, or is not done in time.
    pub(super) async fn run(&self) -> Result<Secret, Error> {
        let Inner { reference, program, last } = &*self.0;
        let lock = || last.lock().unwrap_or_else(PoisonError::into_inner);
        let output = program
            .run(|output| {
                let last = lock();
                let known = last.as_ref().map_or(&[][..], Secret::expose);
                lines(output).chain(lines(known)).collect()
            })
            .await?;
        let secret = Secret::from_text(&output, reference)?;
        *lock() = Some(Secret::new(secret.expose()));
        Ok(secret)
    }
}

/// A secret of several lines, such as a key, can be repeated in part.
fn lines(secret: &[u8]) -> impl Iterator<Item = Hidden> {
    let lines = secret.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty()).map(|line| Zeroizing::new(line.to_vec()))
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn shell(script: &str) -> Printer {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Printer::new(Reference::Command { argv: argv.clone(), ttl: None }, argv)
    }

    async fn print(script: &str) -> Result<String, Error> {
        let secret = shell(script).run().await?;
        Ok(String::from_utf8(secret.expose().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_it_prints_is_the_secret() {
        assert_eq!(print("echo canary").await.unwrap(), "canary");
        assert_eq!(print("printf 'a b\\r\\n'").await.unwrap(), "a b");
        let longest = super::super::MAXIMUM_LENGTH;
        let script = format!("head -c {longest} /dev/zero | tr '\\0' a; printf '\\r\\n'");
        assert_eq!(print(&script).await.unwrap().len(), longest);
    }

    #[tokio::test]
    async fn what_is_no_secret_is_an_error_that_shows_no_output() {
        let error = print("echo canary; exit 3").await.unwrap_err();
        assert_eq!(error.to_string(), "the program of command:sh ... failed with exit status: 3");
        assert!(matches!(print("true").await, Err(Error::Empty { .. })));
        assert!(matches!(print("echo ' canary'").await, Err(Error::Blank { .. })));
        let endless = print("while :; do echo canary; done").await.unwrap_err();
        assert_eq!(
            endless.to_string(),
            "the program of command:sh ... printed more than 64 KiB and was killed"
        );
    }

    #[tokio::test]
    async fn stderr_is_logged_unless_it_repeats_the_secret() {
        let (log, lines) = crate::secret::tests::capture();
        print("echo 'asking the vault' >&2; echo canary").await.unwrap();
        print("printf 'got canary\\nmore: can' >&2; echo canary").await.unwrap();
        let failing = shell("echo 'canary is expired' >&2; exit 1");
        *failing.0.last.lock().unwrap() = Some(Secret::new("canary"));
        failing.run().await.unwrap_err();
        drop(log);
        let lines = lines.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap();
        assert!(lines.contains("asking the vault"), "{lines}");
        assert!(lines.contains("not shown"), "{lines}");
        assert!(!lines.contains("can\""), "{lines}");
        assert!(!lines.contains("canary"), "{lines}");
    }
}
