//! Large messages: whole, byte for byte, and without being kept more often than needed.

use serde_json::{Value, json};

use super::{HTTP, connected};
use crate::support::{pki::Pki, upstream::Upstream};

const MIB: usize = 1024 * 1024;

/// What the process may use at its peak; the figure for the dist binary is half of it.
const PEAK_KIB: u64 = 96 * 1024;

#[test]
#[expect(clippy::print_stdout, reason = "the figures are of interest even where they are met")]
fn large_results_come_whole_in_bounded_memory() {
    for http in HTTP {
        for sse in [false, true] {
            for bytes in [MIB, 16 * MIB] {
                let pki = Pki::new();
                let upstream = Upstream::mutual(&pki);
                let mut client = connected(&pki, &upstream, &["--http", http]);
                let id = client.call("big", json!({"bytes": bytes, "sse": sse}));
                let result = client.result(&id);
                let text = result["content"][0]["text"].as_str().unwrap();
                assert!(text.len() == bytes && text.bytes().all(|byte| byte == b'x'));
                let peak = client.process.peak_rss();
                println!("HTTP/{http}, sse {sse}, {} MiB: peak {peak} KiB", bytes / MIB);
                assert!(peak <= PEAK_KIB, "{peak} KiB");
                assert_eq!(client.finish(), [] as [Value; 0]);
            }
        }
    }
}

#[test]
fn large_arguments_and_their_echo_are_the_same_bytes() {
    // No two stretches alike, escapes among them, so that a lost or doubled piece is seen.
    let text: String = (0..180_000).map(|n| format!("{n}\n\"é")).collect();
    for http in HTTP {
        let pki = Pki::new();
        let upstream = Upstream::mutual(&pki);
        let mut client = connected(&pki, &upstream, &["--http", http]);
        let arguments = json!({"text": text});
        assert!(client.tool("echo", arguments.clone()) == arguments, "HTTP/{http}");
        let call = upstream.wait_for_method("tools/call");
        assert!(call.json()["params"]["arguments"] == arguments, "HTTP/{http}");
    }
}
