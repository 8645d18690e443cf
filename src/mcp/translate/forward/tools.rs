//! What tools return and say to return, as clients up to 2025-11-25 can read it (2026-07-28 changelog,
//! minor 10): their structured content is an object, and so is what its schema describes.
//!
//! Anything else is left out; the server has to say the same in text ("Structured Content").

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::mcp::edit::{self, Edit};

/// The edit that structured content needs.
pub(super) fn returned(content: Option<&str>) -> Option<Edit<'static>> {
    let object = content?.starts_with('{');
    (!object).then_some(Edit::Remove(&["result", "structuredContent"]))
}

/// The edit that the list of tools in `line` needs.
pub(super) fn listed(line: &[u8]) -> Option<Edit<'_>> {
    memchr::memmem::find(line, b"outputSchema")?;
    let list = edit::member(line, &["result", "tools"])?.get();
    let tools: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let mut kept = String::with_capacity(list.len());
    let mut done = 0;
    for tool in tools.into_iter().map(RawValue::get) {
        let Some(without) = without_schema(tool) else { continue };
        // It was cut from the list.
        let start = (tool.as_ptr() as usize).checked_sub(list.as_ptr() as usize)?;
        kept.push_str(list.get(done..start)?);
        kept.push_str(&without);
        done = start + tool.len();
    }
    kept.push_str(list.get(done..)?);
    (done > 0).then_some(Edit::Set(&["result", "tools"], Cow::Owned(kept)))
}

/// The tool without its output schema; none where that is of the older form, or there is none.
fn without_schema(tool: &str) -> Option<String> {
    let schema = edit::member(tool.as_bytes(), &["outputSchema"])?;
    let root = edit::member(schema.get().as_bytes(), &["type"]);
    if root.is_some_and(|root| root.get() == r#""object""#) {
        return None;
    }
    let text = bytes::Bytes::copy_from_slice(tool.as_bytes());
    let without = edit::edited(&text, &[Edit::Remove(&["outputSchema"])])?;
    String::from_utf8(without.into()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    #[test]
    fn output_schemas_of_the_newer_form_are_left_out() {
        for (tools, expected) in [
            (
                r#"[{"name":"a","outputSchema":{"type":"array"}} , {"name":"b", "outputSchema":{"type":"object"}},{"outputSchema":{"oneOf":[]},"name":"c"}]"#,
                Some(
                    r#"[{"name":"a"} , {"name":"b", "outputSchema":{"type":"object"}},{"name":"c"}]"#,
                ),
            ),
            (r#"[{"name":"b","outputSchema":{"type":"object"}}]"#, None),
            (r#"[{"name":"outputSchema"},7]"#, None),
            ("7", None),
        ] {
            let line = Bytes::from(format!(r#"{{"id":1,"result":{{"tools":{tools}}}}}"#));
            let edited = listed(&line).map(|edit| edit::edited(&line, &[edit]).unwrap());
            let expected = expected.map(|it| format!(r#"{{"id":1,"result":{{"tools":{it}}}}}"#));
            assert_eq!(edited.as_deref(), expected.as_deref().map(str::as_bytes), "{tools}");
        }
    }

    #[test]
    fn structured_content_that_is_no_object_is_left_out() {
        for (content, kept) in
            [("{}", true), (r#"{"a":1}"#, true), ("[1]", false), ("7", false), ("null", false)]
        {
            assert_eq!(returned(Some(content)).is_none(), kept, "{content}");
        }
        assert_eq!(returned(None), None);
    }
}
