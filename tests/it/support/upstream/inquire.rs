//! The tool `inquire{rounds, gates?}`, for servers of both eras: it asks the client all of one round
//! after all of the other, and its result is what was answered, round by round. Before each round, and
//! before the result, it waits for the gate in its place, where one is named.
//!
//! The legacy server asks on the call's stream. The modern one has nothing but what the client brings
//! back: a state that was changed on the way is told from a good one.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Shared, stream::Log, tools};

/// What a state begins with: all that a careless hand would change.
const STATE: &str = "\u{1f511} \"so far\", \\ \u{2028}\t/: ";

/// As a session has it.
pub(super) async fn on_the_stream(shared: &Arc<Shared>, log: &Log, arguments: &Value) -> Value {
    let mut answers = Vec::new();
    for round in rounds(arguments) {
        pass(shared, arguments, answers.len()).await;
        let asked: Vec<_> = round.iter().map(|question| ask(shared, log, question)).collect();
        let mut said = Vec::new();
        for answer in asked {
            let response = answer.await.unwrap_or_default();
            said.push(match response.get("result") {
                Some(result) => result.clone(),
                None => json!({"error": response["error"]}),
            });
        }
        answers.push(said);
    }
    pass(shared, arguments, answers.len()).await;
    tools::result(&json!({"answers": answers}))
}

fn ask(shared: &Shared, log: &Log, question: &Value) -> oneshot::Receiver<Value> {
    let (sender, answer) = oneshot::channel();
    let waiter = Box::new(move |response| drop(sender.send(response)));
    let method = question["method"].as_str().unwrap();
    shared.mcp.ask(log, method, &question["params"], waiter);
    answer
}

/// As a request of 2026-07-28 has it: the whole of it may be said again.
pub(super) async fn in_the_result(shared: &Arc<Shared>, params: &Value) -> Value {
    let arguments = &params["arguments"];
    let Some(mut answers) = so_far(params) else {
        let what = json!([params["requestState"], params["inputResponses"]]);
        return json!({"content": [], "isError": true, "structuredContent": what});
    };
    if let Some(said) = params["inputResponses"].as_object() {
        let round = answers.len();
        let names = 0..rounds(arguments)[round].len();
        answers.push(names.map(|at| said[&name(round, at)].clone()).collect());
    }
    pass(shared, arguments, answers.len()).await;
    let rounds = rounds(arguments);
    let Some(round) = rounds.get(answers.len()) else {
        return tools::result(&json!({"answers": answers}));
    };
    let names = (0..round.len()).map(|at| name(answers.len(), at));
    let asked: serde_json::Map<_, _> = names.zip(round.iter().cloned()).collect();
    json!({"resultType": "input_required", "inputRequests": asked, "requestState": state(&answers)})
}

/// What the modern server calls a question.
pub fn name(round: usize, at: usize) -> String {
    format!("the \"{at}\" of {round}")
}

/// What it has the client bring back once these were answered.
pub fn state(answers: &[Vec<Value>]) -> String {
    format!("{STATE}{}", json!(answers))
}

/// The answers of former rounds; none where they are not as they were given out.
fn so_far(params: &Value) -> Option<Vec<Vec<Value>>> {
    match (params.get("requestState"), params.get("inputResponses")) {
        (None, None) => Some(Vec::new()),
        (Some(state), Some(_)) => serde_json::from_str(state.as_str()?.strip_prefix(STATE)?).ok(),
        _ => None,
    }
}

fn rounds(arguments: &Value) -> Vec<Vec<Value>> {
    serde_json::from_value(arguments["rounds"].clone()).unwrap()
}

async fn pass(shared: &Shared, arguments: &Value, at: usize) {
    if let Some(gate) = arguments["gates"][at].as_str() {
        tools::gate(shared, gate).await;
    }
}
