//! A client of the official Rust SDK. As `serve` of its client has it, it opens with `initialize`. A
//! line of JSON a feature goes to stdout: {"feature", "verdict", "why"}.
//! Usage: client COMMAND ARGUMENT...

#![allow(deprecated, reason = "half of the features of before are deprecated")]
#![allow(clippy::disallowed_methods, reason = "what a test is told comes by the environment")]

use std::{
    env,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rmcp::{
    ClientHandler, ErrorData, RoleClient, ServiceExt,
    model::*,
    service::{
        NotificationContext, PeerRequestOptions, RequestContext, RunningService, ServiceError,
    },
    transport::TokioChildProcess,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const WATCHED: &str = "demo://resource/dynamic/text/9";
const URL_TO_OPEN: &str = "https://example.com/consent";
const DEADLINE: Duration = Duration::from_secs(8);
const FEATURES: [&str; 16] = [
    "list",
    "call",
    "progress",
    "resource",
    "prompt",
    "completion",
    "subscribe",
    "list_changed",
    "logging",
    "sampling",
    "elicitation_form",
    "elicitation_url",
    "roots",
    "cancel",
    "result_1_mib",
    "errors",
];

/// What the client heard and was asked, in the order it came.
#[derive(Default)]
struct Heard {
    asked: Vec<String>,
    logs: Vec<Value>,
    updated: Vec<String>,
    progress: Vec<f64>,
    changed: usize,
}

#[derive(Clone, Default)]
struct Host(Arc<Mutex<Heard>>);

impl Host {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wire<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

impl ClientHandler for Host {
    fn get_info(&self) -> ClientConfig {
        let capabilities = json!({"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": true}});
        let capabilities = serde_json::from_value(capabilities).unwrap_or_default();
        ClientConfig::new(capabilities, Implementation::new("matrix-rmcp", "1.0.0"))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.heard().asked.push(format!("sampling {}", params.max_tokens));
        wire(
            json!({"role": "assistant", "model": "a-model", "content": {"type": "text", "text": "forty-two"}}),
        )
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        wire(json!({"roots": [{"uri": "file:///srv/one", "name": "one"}]}))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let request = serde_json::to_value(request).unwrap_or_default();
        if request["mode"] == "url" {
            self.heard().asked.push(format!("url {}", request["url"].as_str().unwrap_or_default()));
            return wire(json!({"action": "accept"}));
        }
        let name = &request["requestedSchema"]["properties"]["name"]["type"];
        self.heard().asked.push(format!("form {}", name.as_str().unwrap_or_default()));
        wire(json!({"action": "accept", "content": {"name": "Ada Lovelace"}}))
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.heard().progress.push(params.progress);
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.heard().logs.push(params.data);
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.heard().updated.push(params.uri);
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.heard().changed += 1;
    }
}

type Client = RunningService<RoleClient, Host>;

fn params<T: serde::de::DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    Ok(serde_json::from_value(value)?)
}

fn text(result: &CallToolResult) -> String {
    serde_json::to_value(&result.content)
        .unwrap_or_default()
        .as_array()
        .map(|parts| parts.iter().filter_map(|part| part["text"].as_str()).collect())
        .unwrap_or_default()
}

async fn call(client: &Client, name: &str, arguments: Value) -> anyhow::Result<String> {
    Ok(text(&client.call_tool(params(json!({"name": name, "arguments": arguments}))?).await?))
}

async fn eventually(what: &str, probe: impl Fn() -> bool) -> anyhow::Result<()> {
    let waited = async {
        while !probe() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(4), waited)
        .await
        .with_context(|| format!("{what}: not seen within 4 s"))
}

fn fails<T>(said: Result<T, ServiceError>, codes: &[i32]) -> anyhow::Result<()> {
    match said {
        Err(ServiceError::McpError(error)) if codes.contains(&error.code.0) => Ok(()),
        Err(error) => bail!("expected one of {codes:?}: {error}"),
        Ok(_) => bail!("no error"),
    }
}

async fn long(
    client: &Client,
    duration: f64,
    steps: u64,
) -> anyhow::Result<rmcp::service::RequestHandle<RoleClient>> {
    let call = json!({"name": "trigger-long-running-operation", "arguments": {"duration": duration, "steps": steps}});
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params(call)?));
    Ok(client.send_cancellable_request(request, PeerRequestOptions::no_options()).await?)
}

async fn play(feature: &str, client: &Client) -> anyhow::Result<()> {
    let host = client.service();
    match feature {
        "list" => {
            let tools = client.list_all_tools().await?;
            for name in [
                "echo",
                "trigger-sampling-request",
                "trigger-elicitation-request",
                "get-roots-list",
            ] {
                ensure!(tools.iter().any(|tool| tool.name == name), "no tool {name}");
            }
            let prompts = client.list_all_prompts().await?;
            ensure!(prompts.iter().any(|prompt| prompt.name == "args-prompt"), "{prompts:?}");
            let templates = client.list_all_resource_templates().await?;
            let dynamic = |uri: &str| uri.starts_with("demo://resource/dynamic/text/");
            ensure!(
                templates.iter().any(|template| dynamic(&template.uri_template)),
                "{templates:?}"
            );
            ensure!(!client.list_all_resources().await?.is_empty(), "no resources");
        }
        "call" => {
            let odd = "line\nfeed, \u{2028}, \"quote\", \\, caf\u{e9} \u{1f980}";
            ensure!(
                call(client, "echo", json!({"message": odd})).await? == format!("Echo: {odd}"),
                "another text"
            );
        }
        "progress" => {
            long(client, 0.3, 3).await?.await_response().await?;
            let steps = host.heard().progress.clone();
            ensure!(steps == [1.0, 2.0, 3.0], "steps {steps:?}");
        }
        "resource" => {
            let read = client
                .read_resource(params(json!({"uri": "demo://resource/dynamic/text/7"}))?)
                .await?;
            ensure!(serde_json::to_string(&read)?.contains("Resource 7"), "{read:?}");
        }
        "prompt" => {
            let prompt = json!({"name": "args-prompt", "arguments": {"city": "Lisbon"}});
            let got = client.get_prompt(params(prompt)?).await?;
            ensure!(serde_json::to_string(&got)?.contains("What's weather in Lisbon?"), "{got:?}");
        }
        "completion" => {
            let said = client
                .complete_prompt_argument("completable-prompt", "department", "S", None)
                .await?;
            ensure!(said.values == ["Sales", "Support"], "{:?}", said.values);
        }
        "subscribe" => {
            client.subscribe(params(json!({"uri": WATCHED}))?).await?;
            call(client, "toggle-subscriber-updates", json!({})).await?;
            eventually("notifications/resources/updated", || {
                host.heard().updated.iter().any(|uri| uri == WATCHED)
            })
            .await?;
            call(client, "toggle-subscriber-updates", json!({})).await?;
            client.unsubscribe(params(json!({"uri": WATCHED}))?).await?;
        }
        "list_changed" => {
            let note = json!({"name": "note.gz", "data": "data:text/plain,a%20note", "outputType": "resource"});
            call(client, "gzip-file-as-resource", note).await?;
            eventually("notifications/resources/list_changed", || host.heard().changed > 0).await?;
        }
        "logging" => {
            client.set_level(params(json!({"level": "debug"}))?).await?;
            host.heard().logs.clear();
            call(client, "toggle-simulated-logging", json!({})).await?;
            let said = |log: &Value| {
                ["level message", "level-message"].iter().any(|word| log.to_string().contains(word))
            };
            eventually("notifications/message", || host.heard().logs.iter().any(said)).await?;
            call(client, "toggle-simulated-logging", json!({})).await?;
        }
        "sampling" => {
            let question = json!({"prompt": "the question", "maxTokens": 7});
            let said = call(client, "trigger-sampling-request", question).await?;
            ensure!(
                said.contains("forty-two")
                    && host.heard().asked.iter().any(|asked| asked == "sampling 7"),
                "{said}"
            );
        }
        "elicitation_form" => {
            let said = call(client, "trigger-elicitation-request", json!({})).await?;
            ensure!(
                said.contains("Ada Lovelace")
                    && host.heard().asked.iter().any(|asked| asked == "form string"),
                "{said}"
            );
        }
        "elicitation_url" => {
            let question = json!({"url": URL_TO_OPEN, "message": "Open it"});
            let said = call(client, "trigger-url-elicitation", question).await?;
            let asked = format!("url {URL_TO_OPEN}");
            ensure!(said.contains("completed") && host.heard().asked.contains(&asked), "{said}");
        }
        "roots" => {
            let said = call(client, "get-roots-list", json!({})).await?;
            ensure!(said.contains("1 total") && said.contains("file:///srv/one"), "{said}");
        }
        "cancel" => {
            host.heard().progress.clear();
            let handle = long(client, 20.0, 100).await?;
            eventually("notifications/progress", || !host.heard().progress.is_empty()).await?;
            handle.cancel(Some("enough".to_owned())).await?;
            let told = env::var("MATRIX_CANCELLED")?;
            eventually("what the server writes when it is told", || {
                std::fs::exists(&told).unwrap_or(false)
            })
            .await?;
            let said = call(client, "echo", json!({"message": "still here"})).await?;
            ensure!(said == "Echo: still here", "{said}");
        }
        "result_1_mib" => {
            let mebibyte = "a line of thirty-two characters\n".repeat((1 << 20) / 32);
            let said = call(client, "echo", json!({"message": mebibyte})).await?;
            ensure!(said == format!("Echo: {mebibyte}"), "{} characters", said.len());
        }
        "errors" => {
            fails(
                client.read_resource(params(json!({"uri": "demo://nothing/here"}))?).await,
                &[-32602, -32002],
            )?;
            let unknown =
                ClientRequest::CustomRequest(CustomRequest::new("no/such-method", Some(json!({}))));
            fails(client.send_request(unknown).await, &[-32601])?;
            match client.call_tool(params(json!({"name": "echo", "arguments": {}}))?).await {
                Ok(result) => {
                    ensure!(result.is_error == Some(true), "a wrong argument is no error")
                }
                said => fails(said, &[-32602])?,
            }
        }
        _ => bail!("no feature {feature}"),
    }
    Ok(())
}

fn say(feature: &str, outcome: &anyhow::Result<()>) {
    match outcome {
        Ok(()) => println!("{}", json!({"feature": feature, "verdict": "pass"})),
        Err(error) => {
            let why: String = format!("{error:#}").chars().take(400).collect();
            println!("{}", json!({"feature": feature, "verdict": "fail", "why": why}));
        }
    }
}

/// The end of its input is all that countersign is told: the SDK kills after 3 s.
async fn leave(client: Client, pid: u32) -> anyhow::Result<()> {
    let started = Instant::now();
    client.cancel().await?;
    let took = started.elapsed();
    ensure!(took < Duration::from_millis(1_900), "it took {took:?}");
    ensure!(!std::fs::exists(format!("/proc/{pid}"))?, "process {pid} is still there");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut words = env::args().skip(1);
    let mut command = tokio::process::Command::new(words.next().context("no command")?);
    command.args(words);
    let transport = TokioChildProcess::new(command)?;
    let pid = transport.id().context("it left at once")?;
    let client = match timeout(Duration::from_secs(20), Host::default().serve(transport)).await? {
        Ok(client) => client,
        Err(error) => {
            for feature in FEATURES.into_iter().chain(["shutdown"]) {
                say(feature, &Err(anyhow::anyhow!("does not connect: {error}")));
            }
            return Ok(());
        }
    };
    println!("{}", json!({"era": "legacy"}));
    for feature in FEATURES {
        let outcome =
            timeout(DEADLINE, play(feature, &client)).await.unwrap_or_else(|late| Err(late.into()));
        say(feature, &outcome);
    }
    say("shutdown", &leave(client, pid).await);
    Ok(())
}
