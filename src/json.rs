//! JSON objects with little code.

use serde_json::{Map, Value};

/// A JSON object with these members. [`serde_json::json!`] compiles to twice as much code for each
/// member, because it serializes every value.
macro_rules! object {
    ($($name:literal: $value:expr),+ $(,)?) => {{
        let mut members = serde_json::Map::new();
        $($crate::json::insert(&mut members, $name, $value.into());)+
        serde_json::Value::Object(members)
    }};
}

pub(crate) use object;

/// Adds a member to an object.
#[inline(never)]
pub(crate) fn insert(members: &mut Map<String, Value>, name: &str, value: Value) {
    members.insert(name.to_owned(), value);
}

/// A list of texts.
pub(crate) fn texts<'a>(list: impl IntoIterator<Item = &'a str>) -> Value {
    let mut texts = Vec::new();
    list.into_iter().for_each(|text| texts.push(text.into()));
    Value::Array(texts)
}

/// The value in one line. Its [`Display`](std::fmt::Display) is another 2 kB of code, and this is the
/// serializer of the state.
pub(crate) fn text(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
