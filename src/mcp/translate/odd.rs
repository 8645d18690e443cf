//! What no serialiser would write as it stands here: odd blanks, an order that is not the alphabet's,
//! numbers and escapes in forms of their own, and a text of a MiB.

/// Members of a result.
pub(super) fn members() -> String {
    let text = r#"a line \u0041\/\t\"\\\n"#.repeat(50_000);
    format!(
        r#""z" :[1.0e2 , -0.0,1E+3,0.10,123456789012345678901234567890 ,[ ],{{ }} ] ,  "content":[{{"type":"text","text":"{text}\\"}} ,{{"text":"}},]\\\"", "type" : "text"}}],"a":{{"resultType":"own", "_meta":{{"x" :1.50}},"resultType":null}}"#
    )
}
