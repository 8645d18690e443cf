//! What a test stands on: certificates, an upstream that misbehaves when told, the real binary,
//! a client that speaks to it. All of it real, on ephemeral ports, gone at the end of the test.
//!
//! A test is a behaviour in 10 to 25 lines; it asserts what the upstream received and what the
//! client saw:
//!
//! ```ignore
//! let pki = Pki::new();                                    // CA, server, client, expired...
//! let upstream = Upstream::mutual(&pki);                   // or Upstream::options(&pki)....start()
//! let mut client = Client::connect(&pki, &upstream);       // spawned, initialize, initialized
//! upstream.script(Rule::call("count"), Fault::RunThenHangup(Ending::Reset));
//! let id = client.call("count", json!({"n": 1}));
//! assert_eq!(client.error(&id)["data"]["stage"], "send");  // outcome unknown,
//! assert_eq!(upstream.ran(1), 1);                          // and it ran once
//! assert_eq!(client.finish(), [] as [Value; 0]);           // EOF, exit 0, nothing else was said
//! ```
//!
//! - `pki`: `Pki` has `ca`, `server`, `client`, `expired`, `early`, `foreign`, `mismatched`;
//!   `issue_client(name)` makes more; `identity.overwrite(&next)` and `pki.mount(&identity)` with
//!   `swap(&next)` are the two ways in which files are rotated.
//! - `upstream`: `Upstream`, its `Options`; tools `echo count{n} wait{gate}
//!   progress{steps,gate?} big{bytes,sse?} ask{method,params} inquire{rounds,gates?}
//!   notify{method,params}`; `release(gate)`,
//!   `notify`, `ask`, `down`, `up`, `restart`, `replace`, `drop_connections`, `forget_sessions`, `rotate`;
//!   `seen`, `posts(method)`, `ran(n)`, `record` and the waits `wait_for(|seen| ..)`,
//!   `wait_for_method`, `wait_for_request`, `wait_for_listener`, `wait_until_left`.
//! - `script`: `Rule` (`next on call get delete matching`, then `times always after`), `Fault`
//!   (each says whether the request ran), `Reply`, `Ending`, `Lost`, `Form`, `Mangle`, `Socket` for
//!   what goes on in a WebSocket, and `Wire` for what goes wrong below HTTP.
//! - `process`: `Countersign` (the builder: arguments, environment, kind of stdin and stdout,
//!   under a parent), `Process` (writes, lines, signals, exit, memory, threads, children).
//! - `jsonrpc`: `Client` over a process: `send request call notify respond`, `response result
//!   error ask tool notification server_request wait`, `received`, `unclaimed`, `finish`.
//! - `refusal`: `Refusal` is an error of ours taken apart; `of_initialize(&program)`, `says(..)`.
//! - `sidecar`: `Sidecar` is `countersign serve` before an upstream; `Line` speaks HTTP/1.1 to it byte
//!   by byte, `Two` HTTP/2; `finish` tells what it refused.
//! - `agent`: `Agent` is a SPIFFE agent: `endpoint()`, `push(svid, roots)`.
//! - `duplex`: `Duplex` is a server behind one channel, HTTP+SSE or a WebSocket.
//! - `tunnel`: `Tunnel` is a CONNECT proxy that leads every name to one upstream.
//!
//! `proof` tests the support itself, with a client that is not the one under test.

#![allow(unreachable_pub, reason = "one crate: what is public here is public to its tests")]
#![allow(dead_code, reason = "an offer: not every test uses all of it")]

#[cfg(feature = "spiffe")]
pub mod agent;
pub mod duplex;
pub mod jsonrpc;
pub mod pki;
pub mod process;
pub mod refusal;
pub mod script;
pub mod sidecar;
pub mod tunnel;
pub mod upstream;

mod proof;
