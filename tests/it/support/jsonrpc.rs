//! A small MCP client over a process: sends lines, matches answers to ids, keeps what else came.
//! Every wait has a deadline and panics with the process's transcript.

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    pki::Pki,
    process::{Countersign, DEADLINE, Process},
    upstream::Upstream,
};

/// A client and the process it talks to.
pub struct Client {
    /// The process, for what is not JSON-RPC.
    pub process: Process,
    next: u64,
    /// All messages so far, in order.
    received: Vec<Value>,
    /// Which of them a wait has claimed.
    claimed: Vec<bool>,
}

impl Client {
    /// Starts the program; nothing is sent yet.
    pub fn start(program: &Countersign) -> Self {
        Self::over(program.start())
    }

    /// The bridge to this upstream as `pki.client`, with its session open.
    #[track_caller]
    pub fn connect(pki: &Pki, upstream: &Upstream) -> Self {
        let mut client = Self::start(&Self::bridge(pki, upstream));
        client.handshake();
        client
    }

    /// The program of `connect`, to be changed before it starts.
    pub fn bridge(pki: &Pki, upstream: &Upstream) -> Countersign {
        Countersign::to(&upstream.url()).identity(&pki.client).cacert(&pki.ca)
    }

    /// A client of a process that runs already.
    pub fn over(process: Process) -> Self {
        Self { process, next: 1, received: Vec::new(), claimed: Vec::new() }
    }

    // Sending.

    /// Sends this line as it is, and its end.
    pub fn send(&self, line: &str) {
        self.process.write(format!("{line}\n"));
    }

    /// Sends a request; returns its id.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = json!(self.next);
        self.next += 1;
        let mut message = json!({"jsonrpc": "2.0", "id": id, "method": method});
        if !params.is_null() {
            message["params"] = params;
        }
        self.send(&message.to_string());
        id
    }

    /// Sends a call of a tool; returns its id.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The same, with its id as the progress token.
    pub fn call_with_progress(&mut self, tool: &str, arguments: Value) -> Value {
        let token = json!({"progressToken": self.next});
        let params = json!({"name": tool, "arguments": arguments, "_meta": token});
        self.request("tools/call", params)
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str, params: Value) {
        let mut message = json!({"jsonrpc": "2.0", "method": method});
        if !params.is_null() {
            message["params"] = params;
        }
        self.send(&message.to_string());
    }

    /// Responds to a request of the server.
    pub fn respond(&self, request: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string());
    }

    /// Responds to a request of the server with an error.
    pub fn respond_error(&self, request: &Value, code: i64, message: &str) {
        let error = json!({"code": code, "message": message});
        self.send(&json!({"jsonrpc": "2.0", "id": request["id"], "error": error}).to_string());
    }

    // Receiving.

    /// Waits for the response to this id, whole.
    #[track_caller]
    pub fn response(&mut self, id: &Value) -> Value {
        let wanted = format!("the response to {id}");
        self.wait(&wanted, |message| message.get("method").is_none() && message["id"] == *id)
    }

    /// Waits for the response, which must be a result.
    #[track_caller]
    pub fn result(&mut self, id: &Value) -> Value {
        let response = self.response(id);
        let result = response.get("result").cloned();
        result.unwrap_or_else(|| self.fail(&format!("a result, not {response}")))
    }

    /// Waits for the response, which must be an error.
    #[track_caller]
    pub fn error(&mut self, id: &Value) -> Value {
        let response = self.response(id);
        let error = response.get("error").cloned();
        error.unwrap_or_else(|| self.fail(&format!("an error, not {response}")))
    }

    /// Sends a request and waits for its result.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.result(&id)
    }

    /// Calls a tool and waits for its structured result.
    #[track_caller]
    pub fn tool(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.call(tool, arguments);
        self.result(&id)["structuredContent"].clone()
    }

    /// Waits for the next notification of this method.
    #[track_caller]
    pub fn notification(&mut self, method: &str) -> Value {
        self.wait(method, |message| message["method"] == method && message.get("id").is_none())
    }

    /// Waits for the next request of this method from the server.
    #[track_caller]
    pub fn server_request(&mut self, method: &str) -> Value {
        self.wait(method, |message| message["method"] == method && message.get("id").is_some())
    }

    /// Waits for the first message, not claimed by a wait before, of which this is true.
    #[track_caller]
    pub fn wait(&mut self, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        let mut at = 0;
        while Instant::now() < until {
            while at < self.received.len() {
                if !self.claimed[at] && is(&self.received[at]) {
                    self.claimed[at] = true;
                    return self.received[at].clone();
                }
                at += 1;
            }
            match self.process.next_line() {
                Some(line) => self.keep(&line),
                None => self.fail(&format!("{wanted}, not the end of stdout")),
            }
        }
        self.fail(&format!("{wanted} within {DEADLINE:?}, among what came"))
    }

    /// All messages so far, in the order in which they came.
    #[track_caller]
    pub fn received(&mut self) -> &[Value] {
        while let Some(line) = self.process.ready_line() {
            self.keep(&line);
        }
        &self.received
    }

    /// The messages so far that no wait has claimed.
    #[track_caller]
    pub fn unclaimed(&mut self) -> Vec<Value> {
        let received = self.received().to_vec();
        let both = received.into_iter().zip(&self.claimed);
        both.filter(|(_, claimed)| !**claimed).map(|(message, _)| message).collect()
    }

    // The session.

    /// Opens a session with 2025-11-25; returns the result of `initialize`.
    #[track_caller]
    pub fn handshake(&mut self) -> Value {
        self.handshake_with("2025-11-25")
    }

    /// Opens a session with this version.
    #[track_caller]
    pub fn handshake_with(&mut self, version: &str) -> Value {
        let id = self.initialize(version);
        let result = self.result(&id);
        self.notify("notifications/initialized", Value::Null);
        result
    }

    /// Sends `initialize` alone; returns its id.
    pub fn initialize(&mut self, version: &str) -> Value {
        let params = json!({
            "protocolVersion": version,
            "capabilities": {"sampling": {}, "elicitation": {}, "roots": {"listChanged": true}},
            "clientInfo": {"name": "test", "version": "1"},
        });
        self.request("initialize", params)
    }

    /// Closes stdin, waits for a clean exit; returns what no wait has claimed.
    #[track_caller]
    pub fn finish(mut self) -> Vec<Value> {
        self.process.close_stdin();
        let status = self.process.wait_exit(DEADLINE);
        if !status.success() {
            self.fail(&format!("a clean exit, not {status}"));
        }
        self.unclaimed()
    }

    #[track_caller]
    fn keep(&mut self, line: &str) {
        match serde_json::from_str(line) {
            Ok(message) => self.received.push(message),
            Err(error) => self.fail(&format!("JSON on stdout, not {line:?}: {error}")),
        }
        self.claimed.push(false);
    }

    #[track_caller]
    fn fail(&self, wanted: &str) -> ! {
        panic!("expected {wanted}\n{}", self.process.transcript())
    }
}
