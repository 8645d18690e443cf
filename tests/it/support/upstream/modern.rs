//! The server side of revision 2026-07-28: stateless, strict about every header that repeats the
//! body, with questions inside results and subscriptions as long answers.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{Seen, Shared, mcp::Answer, stream::Log, tools};
use crate::support::script::{Form, Reply};

const VERSION: &str = "2026-07-28";
const META: &str = "io.modelcontextprotocol/";

/// What the server keeps, which is nothing of its clients but what they listen to.
pub struct Modern {
    /// The name of the header that the argument `region` of the tool `run` goes into.
    annotation: Mutex<String>,
    listeners: Mutex<Vec<Listener>>,
}

struct Listener {
    id: Value,
    wanted: Value,
    log: Arc<Log>,
}

impl Default for Modern {
    fn default() -> Self {
        Self { annotation: Mutex::new("Region".into()), listeners: Mutex::default() }
    }
}

impl Modern {
    /// From now on `region` goes into the header `Mcp-Param-NAME`.
    pub fn annotate(&self, name: &str) {
        *self.annotation.lock().unwrap() = name.into();
    }

    /// Sends a notification to all who asked for it; says how many.
    pub fn publish(&self, method: &str, params: &Value) -> usize {
        let listeners = self.listeners.lock().unwrap();
        let wanting = listeners.iter().filter(|it| it.wants(method, params));
        wanting.map(|it| it.say(method, params)).count()
    }

    /// What its clients listen to, or have listened to, in the order in which they asked.
    pub fn wanted(&self) -> Vec<Value> {
        self.listeners.lock().unwrap().iter().map(|it| it.wanted.clone()).collect()
    }

    /// Ends all subscriptions, gracefully or not.
    pub fn end_subscriptions(&self, gracefully: bool) {
        for it in self.listeners.lock().unwrap().drain(..) {
            if gracefully {
                let meta = json!({format!("{META}subscriptionId"): it.id});
                let result = json!({"resultType": "complete", "_meta": meta});
                it.log.push(json!({"jsonrpc": "2.0", "id": it.id, "result": result}));
            }
            it.log.finish();
        }
    }
}

impl Listener {
    fn wants(&self, method: &str, params: &Value) -> bool {
        let kind = match method {
            "notifications/tools/list_changed" => "toolsListChanged",
            "notifications/prompts/list_changed" => "promptsListChanged",
            "notifications/resources/list_changed" => "resourcesListChanged",
            _ => {
                let uris = self.wanted["resourceSubscriptions"].as_array();
                return uris.is_some_and(|uris| uris.contains(&params["uri"]));
            }
        };
        self.wanted[kind] == true
    }

    fn say(&self, method: &str, params: &Value) {
        let mut params = if params.is_null() { json!({}) } else { params.clone() };
        params["_meta"] = json!({format!("{META}subscriptionId"): self.id});
        self.log.push(json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }
}

/// Why a request is turned away: the status, and the error.
struct Refusal(u16, Value);

fn refuse(status: u16, code: i64, message: impl Into<String>) -> Refusal {
    Refusal(status, json!({"code": code, "message": message.into()}))
}

/// Answers a request; what it calls runs from now on.
pub fn answer(shared: &Arc<Shared>, seen: &Seen) -> Answer {
    if seen.method != Method::POST {
        return Answer::Reply(Reply::new(405));
    }
    let request = seen.json();
    if let Err(Refusal(status, error)) = admit(shared, seen, request) {
        let body = json!({"jsonrpc": "2.0", "id": seen.id(), "error": error});
        return Answer::Reply(Reply::json(status, &body));
    }
    if request.get("id").is_none() {
        return Answer::Reply(Reply::new(202));
    }
    let log = Log::new(format!("modern-{}", seen.number));
    let mut form = shared.options.form.unwrap_or(Form::Json);
    if request["method"] == "subscriptions/listen" {
        listen(shared, request, &log);
        form = Form::Sse;
    } else {
        if shared.options.form.is_none() && tools::streams(request) {
            form = Form::Sse;
        }
        start(shared, request, &log);
    }
    Answer::Log { log, from: 0, form, session: None }
}

fn start(shared: &Arc<Shared>, request: &Value, log: &Arc<Log>) {
    let (shared, request, log) = (Arc::clone(shared), request.clone(), Arc::clone(log));
    tokio::spawn(async move {
        let mut response = match run(&shared, &request, &log).await {
            Ok(mut result) => {
                if result.get("resultType").is_none() {
                    result["resultType"] = "complete".into();
                }
                json!({"jsonrpc": "2.0", "result": result})
            }
            Err(error) => json!({"jsonrpc": "2.0", "error": error}),
        };
        response["id"] = request["id"].clone();
        log.push(response);
        log.finish();
    });
}

/// "Server Validation": the headers are what the body says.
fn admit(shared: &Shared, seen: &Seen, request: &Value) -> Result<(), Refusal> {
    let mismatch = |what: String| refuse(400, -32_020, format!("Header mismatch: {what}"));
    let accept = seen.header("accept").unwrap_or_default();
    if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
        return Err(refuse(406, -32_600, "accept both"));
    }
    let params = &request["params"];
    let said = params["_meta"][format!("{META}protocolVersion")].as_str();
    let header = seen.header("mcp-protocol-version");
    if header.is_none() || header != said {
        return Err(mismatch(format!("version {header:?}, not {said:?}")));
    }
    if said != Some(VERSION) {
        let data = json!({"supported": [VERSION], "requested": said});
        let error =
            json!({"code": -32_022, "message": "Unsupported protocol version", "data": data});
        return Err(Refusal(400, error));
    }
    let method = request["method"].as_str();
    if seen.header("mcp-method") != method {
        return Err(mismatch(format!("method {:?}, not {method:?}", seen.header("mcp-method"))));
    }
    let name = match method {
        Some("tools/call" | "prompts/get") => params["name"].as_str(),
        Some("resources/read") => params["uri"].as_str(),
        _ => None,
    };
    if decoded(seen.header("mcp-name")).as_deref() != name {
        return Err(mismatch(format!("name {:?}, not {name:?}", seen.header("mcp-name"))));
    }
    if name == Some("run") {
        let header = format!("mcp-param-{}", shared.modern.annotation.lock().unwrap());
        let region = params["arguments"]["region"].as_str();
        if decoded(seen.header(&header)).as_deref() != region {
            return Err(mismatch(format!("{header} {:?}", seen.header(&header))));
        }
    }
    match method {
        Some(
            "server/discover"
            | "tools/list"
            | "tools/call"
            | "prompts/list"
            | "resources/list"
            | "resources/read"
            | "subscriptions/listen",
        ) => Ok(()),
        _ => Err(refuse(404, -32_601, "Method not found")),
    }
}

fn decoded(value: Option<&str>) -> Option<String> {
    let value = value?;
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    Some(match inner {
        Some(inner) => String::from_utf8(BASE64_STANDARD.decode(inner).unwrap()).unwrap(),
        None => value.into(),
    })
}

async fn run(shared: &Arc<Shared>, request: &Value, log: &Arc<Log>) -> Result<Value, Value> {
    let params = &request["params"];
    match request["method"].as_str().unwrap_or_default() {
        "server/discover" => Ok(json!({
            "supportedVersions": [VERSION],
            "capabilities": {
                "tools": {"listChanged": true},
                "prompts": {"listChanged": true},
                "resources": {"listChanged": true, "subscribe": true},
                "logging": {},
            },
            "instructions": "be brief",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {format!("{META}serverInfo"): {"name": "upstream", "version": "1"}},
        })),
        "tools/list" => Ok(tools_list(shared)),
        "prompts/list" => Ok(json!({"prompts": [], "ttlMs": 0, "cacheScope": "private"})),
        "resources/list" => Ok(json!({"resources": [], "ttlMs": 0, "cacheScope": "private"})),
        "resources/read" => Err(json!({"code": -32602, "message": "no such resource"})),
        _ if params["name"] == "ask" => Ok(ask(params)),
        _ if params["name"] == "run" => {
            Ok(json!({"content": [], "structuredContent": params["arguments"]}))
        }
        _ => tools::call(shared, None, log, params).await,
    }
}

fn tools_list(shared: &Shared) -> Value {
    let annotation = shared.modern.annotation.lock().unwrap().clone();
    let region = |name: &str| json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": name}}});
    let mut tools: Vec<Value> = tools::TOOLS
        .map(|name| json!({"name": name, "description": name, "inputSchema": {"type": "object"}}))
        .into();
    tools.push(json!({"name": "run", "inputSchema": region(&annotation)}));
    tools.push(json!({"name": "bad", "inputSchema": region("not a token")}));
    json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"})
}

/// `ask` wants an answer to each of `arguments.requests`, and repeats the answers.
fn ask(params: &Value) -> Value {
    let state = format!("state of {}", params["arguments"]["requests"]);
    match params.get("inputResponses") {
        Some(responses) if params["requestState"] == state => {
            json!({"content": [], "structuredContent": responses})
        }
        Some(_) => {
            json!({"content": [], "isError": true, "structuredContent": params["requestState"]})
        }
        None => json!({
            "resultType": "input_required",
            "inputRequests": params["arguments"]["requests"],
            "requestState": state,
        }),
    }
}

fn listen(shared: &Shared, request: &Value, log: &Arc<Log>) {
    let wanted = request["params"]["notifications"].clone();
    let listener =
        Listener { id: request["id"].clone(), wanted: wanted.clone(), log: Arc::clone(log) };
    listener.say("notifications/subscriptions/acknowledged", &json!({"notifications": wanted}));
    shared.modern.listeners.lock().unwrap().push(listener);
    shared.recorder.note(|_| ());
}
