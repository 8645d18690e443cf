//! The annotations in one tool's `inputSchema`, and the rules that they keep (2026-07-28
//! streamable-http, "Schema Extension").
//!
//! A pure walk over the schema; every rule has its own words, since they are what a tool's author
//! is told.

use std::collections::HashSet;

use http::HeaderName;
use serde_json::{Map, Value};

use super::Parameter;

const ANNOTATION: &str = "x-mcp-header";

/// Where a schema has other schemas under names that it chooses, so that no name is a keyword.
const NAMED: [&str; 5] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];

/// Where it has plain data, in which nothing is a keyword.
const DATA: [&str; 5] = ["const", "enum", "default", "examples", "required"];

/// The annotated properties of `schema`, or the rule that one of them breaks.
pub(super) fn annotated(schema: &str) -> Result<Vec<Parameter>, String> {
    let Ok(Value::Object(schema)) = serde_json::from_str(schema) else { return Ok(Vec::new()) };
    let mut walk = Walk::default();
    walk.schema(&schema, true)?;
    Ok(walk.found)
}

#[derive(Default)]
struct Walk {
    found: Vec<Parameter>,
    names: HashSet<String>,
    /// The properties on the way from the root to here.
    path: Vec<Box<str>>,
}

impl Walk {
    /// `reachable`: through `properties` alone.
    fn schema(&mut self, schema: &Map<String, Value>, reachable: bool) -> Result<(), String> {
        if let Some(name) = schema.get(ANNOTATION) {
            let parameter = self.parameter(schema, name, reachable)?;
            self.found.push(parameter);
        }
        for (keyword, value) in schema {
            match value {
                Value::Object(named) if NAMED.contains(&&**keyword) => {
                    let reachable = reachable && keyword == "properties";
                    for (name, schema) in named {
                        self.path.push(name.as_str().into());
                        self.value(schema, reachable)?;
                        self.path.pop();
                    }
                }
                _ if keyword == ANNOTATION || DATA.contains(&&**keyword) => {}
                _ => self.value(value, false)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, reachable: bool) -> Result<(), String> {
        match value {
            Value::Object(schema) => self.schema(schema, reachable),
            Value::Array(schemas) => {
                schemas.iter().try_for_each(|schema| self.value(schema, false))
            }
            _ => Ok(()),
        }
    }

    fn parameter(
        &mut self,
        schema: &Map<String, Value>,
        name: &Value,
        reachable: bool,
    ) -> Result<Parameter, String> {
        let Some(name) = name.as_str() else {
            return Err(format!("an {ANNOTATION} is no string"));
        };
        if name.is_empty() {
            return Err(format!("an {ANNOTATION} is empty"));
        }
        let shown = name.escape_debug();
        if self.path.is_empty() || !reachable {
            return Err(format!(
                "the {ANNOTATION} \"{shown}\" is not at a property that a chain of \"properties\" leads to"
            ));
        }
        // A header's name is a token, which is what the rule asks of the annotation.
        let header = HeaderName::try_from(format!("mcp-param-{name}"));
        let Ok(header) = header else {
            return Err(format!("the {ANNOTATION} \"{shown}\" is no token of RFC 9110"));
        };
        let kind = schema.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("string" | "integer" | "boolean")) {
            return Err(format!(
                "the {ANNOTATION} \"{shown}\" is at a property that is no string, integer or boolean"
            ));
        }
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Err(format!("the {ANNOTATION} \"{shown}\" is there twice"));
        }
        Ok(Parameter { header, path: self.path.as_slice().into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn rule(schema: &Value) -> String {
        annotated(&schema.to_string()).unwrap_err()
    }

    fn property(schema: &Value) -> Value {
        json!({"type": "object", "properties": {"a": schema}})
    }

    #[test]
    fn every_rule_of_the_schema_extension() {
        let region = json!({"type": "string", "x-mcp-header": "Region"});
        for (broken, schema) in [
            ("is empty", property(&json!({"type": "string", "x-mcp-header": ""}))),
            ("is no string", property(&json!({"type": "string", "x-mcp-header": 7}))),
            ("is no token", property(&json!({"type": "string", "x-mcp-header": "My Region"}))),
            ("is no token", property(&json!({"type": "string", "x-mcp-header": "Region:Name"}))),
            ("is no token", property(&json!({"type": "string", "x-mcp-header": "R\u{e9}gion"}))),
            ("is no token", property(&json!({"type": "string", "x-mcp-header": "a\r\nb"}))),
            (
                "twice",
                json!({"properties": {"a": region, "b": {"type": "string", "x-mcp-header": "REGION"}}}),
            ),
            ("no string, integer", property(&json!({"type": "number", "x-mcp-header": "A"}))),
            ("no string, integer", property(&json!({"type": "object", "x-mcp-header": "A"}))),
            ("no string, integer", property(&json!({"type": "array", "x-mcp-header": "A"}))),
            ("no string, integer", property(&json!({"type": "null", "x-mcp-header": "A"}))),
            ("no string, integer", property(&json!({"x-mcp-header": "A"}))),
            ("chain of", region.clone()),
            ("chain of", property(&json!({"type": "array", "items": region}))),
            (
                "chain of",
                property(
                    &json!({"type": "array", "items": {"type": "object", "properties": {"a": region}}}),
                ),
            ),
            ("chain of", json!({"anyOf": [{"properties": {"a": region}}]})),
            ("chain of", json!({"then": {"properties": {"a": region}}})),
            ("chain of", json!({"not": {"properties": {"a": region}}})),
            (
                "chain of",
                json!({"$defs": {"a": region}, "properties": {"a": {"$ref": "#/$defs/a"}}}),
            ),
            ("chain of", json!({"additionalProperties": region})),
        ] {
            let said = rule(&schema);
            assert!(said.contains(broken), "{schema}: {said}");
        }
    }

    #[test]
    fn what_only_looks_like_an_annotation_is_none() {
        for schema in [
            json!({"properties": {"x-mcp-header": {"type": "string"}}}),
            property(&json!({"type": "object", "default": {"x-mcp-header": ""}})),
            property(&json!({"enum": [{"x-mcp-header": ""}]})),
            json!(true),
        ] {
            assert_eq!(annotated(&schema.to_string()), Ok(Vec::new()), "{schema}");
        }
    }

    #[test]
    fn a_header_may_have_the_name_of_a_standard_one_after_its_prefix() {
        let found = annotated(
            &property(&json!({"type": "object", "properties": {
                "m": {"type": "string", "x-mcp-header": "Method"}}}))
            .to_string(),
        );
        let header = HeaderName::from_static("mcp-param-method");
        assert_eq!(found, Ok(vec![Parameter { header, path: ["a".into(), "m".into()].into() }]));
    }
}
