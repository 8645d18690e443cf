//! A server of the official Rust SDK, over Streamable HTTP of both eras. It plays the tools of the
//! reference server under their names. Lets in only what has the bearer token of MATRIX_TOKEN, with the
//! client's name behind it, and writes the port it was given to the file MATRIX_PORT. A call that a
//! client cancels is told by a file, too: the client waits for it.

#![allow(deprecated, reason = "half of the features of before are deprecated")]
#![allow(clippy::disallowed_methods, reason = "what a test is told comes by the environment")]

use std::{
    env, fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{RequestContext, ServiceError, SubscriptionContext, SubscriptionSink},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};

const WATCHED: &str = "demo://resource/dynamic/text/9";
const TOOLS: [(&str, &[&str]); 9] = [
    ("echo", &["message"]),
    ("trigger-long-running-operation", &["duration", "steps"]),
    ("toggle-subscriber-updates", &[]),
    ("gzip-file-as-resource", &["name"]),
    ("toggle-simulated-logging", &[]),
    ("trigger-sampling-request", &["prompt", "maxTokens"]),
    ("trigger-elicitation-request", &[]),
    ("trigger-url-elicitation", &["url", "message"]),
    ("get-roots-list", &[]),
];

#[derive(Clone, Default)]
struct Server {
    /// The open `subscriptions/listen` of all clients.
    sinks: Arc<Mutex<Vec<SubscriptionSink>>>,
}

type Context = RequestContext<RoleServer>;

/// The SDK's types are not made by hand outside of it: they are read from what goes over the wire.
fn wire<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// A result, whole at once.
fn complete<T: serde::de::DeserializeOwned>(mut result: Value) -> Result<T, ErrorData> {
    result["resultType"] = json!("complete");
    wire(result)
}

fn failed(error: ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

fn says(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

impl Server {
    fn sinks(&self) -> Vec<SubscriptionSink> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn long(&self, arguments: &Value, context: &Context) -> Result<(), ErrorData> {
        let steps = arguments["steps"].as_u64().unwrap_or(1);
        let pause =
            Duration::from_secs_f64(arguments["duration"].as_f64().unwrap_or(1.0) / steps as f64);
        for step in 1..=steps {
            tokio::time::sleep(pause).await;
            if context.ct.is_cancelled() {
                return cancelled(context);
            }
            if let Some(token) = context.meta.get_progress_token() {
                let progress =
                    json!({"progressToken": token, "progress": step as f64, "total": steps as f64});
                context.peer.notify_progress(wire(progress)?).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn tell(&self, tool: &str, context: &Context) -> Result<(), ErrorData> {
        let modern = is_modern(context);
        match tool {
            "toggle-simulated-logging" => {
                let message = json!({"level": "info", "data": "Info-level message"});
                context.peer.notify_logging_message(wire(message)?).await.map_err(failed)?;
            }
            "toggle-subscriber-updates" if !modern => {
                let update = ResourceUpdatedNotificationParam::new(WATCHED);
                context.peer.notify_resource_updated(update).await.map_err(failed)?;
            }
            "gzip-file-as-resource" if !modern => {
                context.peer.notify_resource_list_changed().await.map_err(failed)?;
            }
            // Whoever does not listen for it any more is no concern of this call.
            "toggle-subscriber-updates" => {
                for sink in self.sinks() {
                    let _ = sink.notify_resource_updated(WATCHED).await;
                }
            }
            _ => {
                for sink in self.sinks() {
                    let _ = sink.notify_resource_list_changed().await;
                }
            }
        }
        Ok(())
    }
}

/// The client that this header is of, if it knows the token.
fn client(headers: &HeaderMap) -> Option<String> {
    let known = format!("Bearer {}.", env::var("MATRIX_TOKEN").ok()?);
    Some(headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix(&known)?.to_owned())
}

/// That a call of this client's was cancelled has reached the server.
fn cancelled(context: &Context) -> Result<(), ErrorData> {
    let name = context.extensions.get::<Parts>().and_then(|request| client(&request.headers));
    let port = env::var("MATRIX_PORT").unwrap_or_default();
    let path = format!("{}{}.cancelled", port.trim_end_matches("port"), name.unwrap_or_default());
    fs::write(path, "").map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn is_modern(context: &Context) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// What a tool asks of the client, as a request.
fn question(tool: &str, arguments: &Value) -> Option<Value> {
    Some(match tool {
        "trigger-sampling-request" => json!({"method": "sampling/createMessage", "params": {
            "messages": [{"role": "user", "content": {"type": "text", "text": arguments["prompt"]}}],
            "maxTokens": arguments["maxTokens"],
        }}),
        "trigger-elicitation-request" => json!({"method": "elicitation/create", "params": {
            "mode": "form",
            "message": "Who are you?",
            "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        }}),
        "trigger-url-elicitation" => json!({"method": "elicitation/create", "params": {
            "mode": "url",
            "message": arguments["message"],
            "url": arguments["url"],
            "elicitationId": "one",
        }}),
        "get-roots-list" => json!({"method": "roots/list"}),
        _ => return None,
    })
}

/// Asks in the middle of the call, as sessions do.
async fn ask(question: Value, context: &Context) -> Result<Value, ErrorData> {
    let params = question["params"].clone();
    let answer = match question["method"].as_str() {
        Some("sampling/createMessage") => {
            serde_json::to_value(context.peer.create_message(wire(params)?).await.map_err(failed)?)
        }
        Some("elicitation/create") => serde_json::to_value(
            context.peer.create_elicitation(wire(params)?).await.map_err(failed)?,
        ),
        _ => serde_json::to_value(context.peer.list_roots().await.map_err(failed)?),
    };
    answer.map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn reply(tool: &str, answer: &Value) -> String {
    match tool {
        "trigger-sampling-request" => format!("LLM sampling result: {}", answer["content"]),
        "trigger-elicitation-request" => {
            format!("{}: {}", answer["action"], answer["content"]["name"])
        }
        "trigger-url-elicitation" if answer["action"] == "accept" => "completed".to_owned(),
        "get-roots-list" => {
            format!("{} total\n{answer}", answer["roots"].as_array().map_or(0, Vec::len))
        }
        _ => format!("{}", answer["action"]),
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_completions()
            .enable_logging()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("matrix-rmcp", "1.0.0"))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = TOOLS.map(|(name, required)| {
            let properties: serde_json::Map<_, _> = required.iter().map(|name| (name.to_string(), json!({}))).collect();
            json!({"name": name, "inputSchema": {"type": "object", "properties": properties, "required": required}})
        });
        complete(json!({"tools": tools}))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = request.name.as_ref();
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let Some((_, required)) = TOOLS.iter().find(|(name, _)| *name == tool) else {
            return Err(ErrorData::invalid_params(format!("no tool {tool}"), None));
        };
        if let Some(missing) = required.iter().find(|name| arguments.get(**name).is_none()) {
            let words = vec![ContentBlock::text(format!("no argument {missing}"))];
            return Ok(CallToolResult::error(words).into());
        }
        if let Some(question) = question(tool, &arguments) {
            let answer = match request.input_responses {
                Some(responses) => responses.get("answer").cloned().unwrap_or_default(),
                None if is_modern(&context) => {
                    let requests = wire(json!({"answer": question}))?;
                    return Ok(InputRequiredResult::new(Some(requests), None).into());
                }
                None => ask(question, &context).await?,
            };
            return Ok(says(reply(tool, &answer)));
        }
        match tool {
            "echo" => {
                return Ok(says(format!(
                    "Echo: {}",
                    arguments["message"].as_str().unwrap_or_default()
                )));
            }
            "trigger-long-running-operation" => self.long(&arguments, &context).await?,
            _ => self.tell(tool, &context).await?,
        }
        Ok(says("done"))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        complete(json!({"resources": [{"uri": WATCHED, "name": "watched"}]}))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        complete(
            json!({"resourceTemplates": [{"uriTemplate": "demo://resource/dynamic/text/{id}", "name": "text"}]}),
        )
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(number) = request.uri.strip_prefix("demo://resource/dynamic/text/") else {
            return Err(ErrorData::resource_not_found(
                "no such resource",
                Some(json!({"uri": request.uri})),
            ));
        };
        let result: ReadResourceResult = complete(
            json!({"contents": [{"uri": request.uri, "text": format!("Resource {number}")}]}),
        )?;
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        complete(json!({"prompts": [
            {"name": "args-prompt", "arguments": [{"name": "city", "required": true}]},
            {"name": "completable-prompt", "arguments": [{"name": "department", "required": true}]},
        ]}))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        let city = request.arguments.unwrap_or_default().remove("city").unwrap_or_default();
        let text = format!("What's weather in {}?", city.as_str().unwrap_or_default());
        let result: GetPromptResult = complete(
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}),
        )?;
        Ok(result.into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: Context,
    ) -> Result<CompleteResult, ErrorData> {
        let departments = ["Engineering", "Sales", "Marketing", "Support"];
        let values: Vec<_> =
            departments.iter().filter(|name| name.starts_with(&request.argument.value)).collect();
        complete(json!({"completion": {"values": values}}))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let sink = context.sink().clone();
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).push(sink);
        context.cancelled().await;
        Ok(())
    }
}

async fn door(request: Request, next: Next) -> Response {
    match client(request.headers()) {
        Some(_) => next.run(request).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let server = Server::default();
    let service: StreamableHttpService<Server, LocalSessionManager> = StreamableHttpService::new(
        move || Ok(server.clone()),
        Default::default(),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().nest_service("/mcp", service).layer(middleware::from_fn(door));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = env::var("MATRIX_PORT")?;
    fs::write(format!("{port}.new"), listener.local_addr()?.port().to_string())?;
    fs::rename(format!("{port}.new"), port)?;
    axum::serve(listener, router).await?;
    Ok(())
}
