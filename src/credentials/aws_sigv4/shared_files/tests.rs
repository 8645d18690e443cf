//! Which of two files has the keys, and how they are kept current.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use tokio::time::advance;

use super::*;

/// Both files, in a folder of their own.
struct Home(tempfile::TempDir);

impl Home {
    fn new(credentials: &str, config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.credentials(credentials);
        fs::write(home.0.path().join("config"), config).unwrap();
        home
    }

    fn credentials(&self, text: &str) {
        fs::write(self.0.path().join("credentials"), text).unwrap();
    }

    fn files(&self, profile: &str) -> SharedFiles {
        SharedFiles {
            credentials: self.0.path().join("credentials"),
            config: self.0.path().join("config"),
            profile: profile.to_owned(),
            after_environment: true,
        }
    }

    /// What the files say of a profile.
    fn find(&self, profile: &str) -> Result<String, String> {
        match self.files(profile).find() {
            Ok(Found::Keys(keys)) => Ok(keys.access_key_id.to_string()),
            Ok(Found::Process(argv)) => Ok(argv.join(" ")),
            Err(Unfit { what, hint }) => {
                assert!(!what.contains("canary") && !hint.contains("canary"), "{what}; {hint}");
                Err(format!("{what}; {hint}"))
            }
        }
    }
}

fn keys(id: &str) -> String {
    format!("aws_access_key_id = {id}\naws_secret_access_key = canary\n")
}

#[test]
fn keys_are_found_in_the_order_of_the_aws_tools() {
    let process = "credential_process = prog 'an arg'\n";
    let credentials = format!("[default]\n{}\n[b]\n{process}[c]\n", keys("AKIDCREDENTIALS"));
    let config = format!(
        "[default]\n{}{process}[profile a]\n{}\n[profile b]\n{}[profile c]\n{}{process}",
        keys("AKIDCONFIG"),
        keys("AKIDA"),
        keys("AKIDB"),
        keys("AKIDC"),
    );
    let home = Home::new(&credentials, &config);
    for (profile, found) in
        [("default", "AKIDCREDENTIALS"), ("a", "AKIDA"), ("b", "prog an arg"), ("c", "prog an arg")]
    {
        assert_eq!(home.find(profile).as_deref(), Ok(found), "{profile}");
    }
}

#[test]
fn who_has_no_keys_is_told_where_they_were_looked_for_and_what_helps() {
    let home = Home::new("", "[profile sso]\nsso_session = x\n");
    let nothing = home.find("mine").unwrap_err();
    for part in [
        "AWS_ACCESS_KEY_ID is not set, and neither ",
        "/credentials nor ",
        "for the profile mine",
        "aws configure export-credentials --profile mine --format process",
    ] {
        assert!(nothing.contains(part), "{nothing}");
    }
    let asked = SharedFiles { after_environment: false, ..home.files("mine") };
    assert!(!asked.nothing().what.contains("AWS_ACCESS_KEY_ID"));
    fs::remove_file(home.0.path().join("credentials")).unwrap();
    assert!(home.find("mine").unwrap_err().starts_with("found no AWS credentials"));
    let elsewhere = home.find("sso").unwrap_err();
    assert!(elsewhere.contains("sso has sso_session") && elsewhere.contains("credential_process"));
}

#[test]
fn a_role_is_not_passed_over_for_the_keys_beside_it() {
    let home = Home::new(&format!("[r]\n{}", keys("AKID")), "[profile r]\nrole_arn = x\n");
    assert!(home.find("r").unwrap_err().contains("has role_arn, which is not done here"));
}

#[test]
fn mistakes_name_the_file_and_show_nothing_of_it() {
    for (credentials, said) in [
        ("[default]\naws_access_key_id = AKID\n", "is there, but no aws_secret_access_key"),
        ("[default]\naws_secret_access_key = canary\n", "is not there, but an aws_secret"),
        ("[default]\ncanary\n", "could not be read: line 2 is no section"),
        (
            "[default]\naws_access_key_id = AKID\naws_secret_access_key = can ary\n",
            "is not a secret",
        ),
        ("[default]\ncredential_process = 'canary\n", "a quote that does not end"),
    ] {
        let refused = Home::new(credentials, "").find("default").unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let home = Home::new("", "");
    fs::write(home.0.path().join("config"), b"\xff").unwrap();
    assert!(home.find("default").unwrap_err().contains("config is not UTF-8"));
    fs::remove_file(home.0.path().join("config")).unwrap();
    fs::create_dir(home.0.path().join("config")).unwrap();
    assert!(home.find("default").unwrap_err().contains("it is not a file"));
}

#[test]
fn the_region_of_the_profile_is_known() {
    let home = Home::new("", "[default]\nregion = eu-west-1\n[profile a]\noutput = json\n");
    assert_eq!(home.files("default").region().unwrap().as_deref(), Some("eu-west-1"));
    assert_eq!(home.files("a").region().unwrap(), None);
}

async fn id(live: &Live) -> (String, Generation) {
    let (keys, generation) = live.current().await.unwrap();
    (keys.access_key_id.to_string(), generation)
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_read_again_within_a_second_or_when_refused() {
    let home = Home::new(&format!("[default]\n{}", keys("FIRST")), "");
    let live = Live::new(home.files("default"));
    let (first, generation) = id(&live).await;
    assert_eq!(first, "FIRST");
    assert!(!live.refused(generation).await, "they are still the same");
    home.credentials(&format!("[default]\n{}", keys("SECOND")));
    assert_eq!(id(&live).await.0, "FIRST");
    assert!(live.refused(generation).await);
    assert!(live.refused(generation).await, "and for all who were");
    assert_eq!(id(&live).await.0, "SECOND");
    home.credentials(&format!("[default]\n{}", keys("THIRD")));
    advance(LOOK_EVERY).await;
    assert_eq!(id(&live).await.0, "THIRD");
}

#[tokio::test(start_paused = true)]
async fn files_that_turned_bad_keep_the_last_keys() {
    let home = Home::new(&format!("[default]\n{}", keys("FIRST")), "");
    let live = Live::new(home.files("default"));
    let (_, generation) = id(&live).await;
    for broken in ["", "[default]\ncanary", "[default]\naws_access_key_id = X\n"] {
        home.credentials(broken);
        advance(LOOK_EVERY).await;
        assert_eq!(id(&live).await, ("FIRST".to_owned(), generation));
        assert!(!live.refused(generation).await);
    }
    home.credentials(&format!("[default]\n{}", keys("SECOND")));
    assert!(live.refused(generation).await);
    assert_eq!(id(&live).await.0, "SECOND");
}

#[cfg(unix)]
#[tokio::test]
async fn a_credential_process_is_run_once_for_all_and_again_when_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (program, runs) = (folder.path().join("program"), folder.path().join("runs"));
    let script = format!(
        "echo >>'{0}'\nn=$(wc -l <'{0}' | tr -d ' ')\necho '{{\"Version\":1,\"AccessKeyId\":\"ASIA'$n'\",\
         \"SecretAccessKey\":\"canary\",\"SessionToken\":\"t\"}}'",
        runs.display()
    );
    fs::write(&program, script).unwrap();
    let home =
        Home::new("", &format!("[default]\ncredential_process = sh '{}'\n", program.display()));
    home.files("default").check().unwrap();
    assert!(!runs.exists(), "start-up has no side effects");
    let live = Live::new(home.files("default"));
    let all = futures_util::future::join_all((0..20).map(|_| id(&live))).await;
    assert!(all.iter().all(|(id, _)| id == "ASIA1"));
    let generation = all[0].1;
    let refused = futures_util::future::join_all((0..20).map(|_| live.refused(generation))).await;
    assert!(refused.into_iter().all(|renewed| renewed));
    assert_eq!(id(&live).await.0, "ASIA2");
    home.credentials(&format!("[default]\n{}", keys("STATIC")));
    let generation = id(&live).await.1;
    assert!(live.refused(generation).await, "the files name other keys now");
    assert_eq!(id(&live).await.0, "STATIC");
}

#[cfg(unix)]
#[tokio::test]
async fn keys_that_expire_are_fetched_before_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let printed = folder.path().join("printed");
    let print = |id: &str, left: Duration| {
        let ends = humantime::format_rfc3339_millis(std::time::SystemTime::now() + left);
        let json = format!(
            "{{\"Version\":1,\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"x\",\"Expiration\":\"{ends}\"}}"
        );
        fs::write(&printed, json).unwrap();
    };
    let home =
        Home::new("", &format!("[default]\ncredential_process = cat '{}'\n", printed.display()));
    let live = Live::new(home.files("default"));
    // On a machine that is busy, the first may be over before it has been read.
    let first = async {
        loop {
            print("FIRST", Duration::from_secs(1));
            if live.current().await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), first).await.unwrap();
    print("SECOND", Duration::from_secs(3600));
    let renewed = async {
        while id(&live).await.0 == "FIRST" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap();
    assert_eq!(id(&live).await.0, "SECOND");
}
