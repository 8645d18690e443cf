//! What the plugin and the bundle ask their users for, against the shape that is documented for
//! each: `userConfig` of Claude Code's plugins, `user_config` of MCP bundles. The two ask alike.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{json_of, texts};

/// The kinds of values that both know.
const TYPES: [&str; 5] = ["string", "number", "boolean", "directory", "file"];

/// What an option may say; in a plugin, one key more makes the whole manifest invalid.
const KEYS: [&str; 9] =
    ["type", "title", "description", "required", "default", "multiple", "sensitive", "min", "max"];

fn options(form: &Value) -> &Map<String, Value> {
    form.as_object().unwrap()
}

/// Options, and the servers that use them.
fn both() -> [(&'static str, Value, Value); 2] {
    let manifest = json_of("mcpb/manifest.json");
    [
        (
            "plugin",
            json_of("claude-code-plugin/.claude-plugin/plugin.json")["userConfig"].take(),
            json_of("claude-code-plugin/.mcp.json")["secure-api"].take(),
        ),
        ("bundle", manifest["user_config"].clone(), manifest["server"]["mcp_config"].clone()),
    ]
}

#[test]
fn options_are_of_the_documented_shape() {
    for (whose, form, _) in both() {
        for (name, option) in options(&form) {
            let place = format!("{whose}: {name}");
            // It becomes part of a variable's name.
            assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'), "{place}");
            for key in option.as_object().unwrap().keys() {
                assert!(KEYS.contains(&key.as_str()), "{place}: {key}");
            }
            assert!(TYPES.contains(&option["type"].as_str().unwrap()), "{place}");
            for key in ["title", "description"] {
                assert!(option[key].as_str().is_some_and(|it| !it.is_empty()), "{place}: {key}");
            }
            // A client refuses to fill in what nobody gave, so there is always something.
            assert!(option["required"] == true || option["default"] == "", "{place}");
        }
    }
}

#[test]
fn paths_are_files_and_secrets_are_sensitive() {
    for (whose, form, _) in both() {
        for (name, option) in options(&form) {
            let path = ["cert", "key"].iter().any(|end| name.ends_with(end));
            let secret = ["token", "passphrase"].iter().any(|end| name.ends_with(end));
            assert_eq!(option["type"] == "file", path, "{whose}: {name}");
            assert_eq!(option["sensitive"] == true, secret, "{whose}: {name}");
        }
    }
}

#[test]
fn what_is_asked_for_is_used_and_no_secret_is_an_argument() {
    for (whose, form, server) in both() {
        let used = |text: &str| -> BTreeSet<String> {
            text.split("${user_config.")
                .skip(1)
                .map(|rest| rest.split('}').next().unwrap().to_owned())
                .collect()
        };
        let asked: BTreeSet<String> = options(&form).keys().cloned().collect();
        assert_eq!(used(&server.to_string()), asked, "{whose}");
        for name in used(&texts(&server["args"]).join(" ")) {
            assert_ne!(form[&name]["sensitive"], true, "{whose}: {name} is on a command line");
        }
    }
}

#[test]
fn plugin_and_bundle_ask_alike() {
    let [(_, plugin, server), (_, bundle, started)] = both();
    assert_eq!(server["args"], started["args"]);
    assert_eq!(server["env"], started["env"]);
    for (name, option) in options(&plugin) {
        for key in ["type", "title", "description"] {
            assert_eq!(option[key], bundle[name][key], "{name}: {key}");
        }
    }
    assert_eq!(options(&plugin).len(), options(&bundle).len());
}
