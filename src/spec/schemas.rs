//! Changes the schemata in the `linux.intelRdt` of an existing container.

use serde_json::{Map, Value};

use super::{parse, repair, syntax};
use crate::config::intel_rdt::IntelRdt;
use crate::error::{Error, Result};
use crate::json;

/// Sets the `given` properties of `linux.intelRdt` in the text of `config`. Returns the new text and
/// the lines of the new schemata.
///
/// # Errors
/// The config has no `linux.intelRdt`, or a value is invalid.
pub fn schemas(config: &[u8], given: &[(&str, &str)]) -> Result<(Vec<u8>, Vec<String>)> {
    let mut config: Value =
        serde_json::from_str(&repair::text(config)).map_err(|error| syntax(&error))?;
    let Some(Value::Object(saved)) = config.pointer_mut("/linux/intelRdt") else {
        let error = Error::config("linux.intelRdt", "missing");
        return Err(error.hint("only a container that was created with it can change it"));
    };
    let mut change = Value::Object(Map::new());
    for (name, value) in given {
        change[*name] = Value::from(*value);
    }
    let (change, _) = parse(change.to_string().as_bytes())?;
    let lines = IntelRdt::new(&change)?.schemata;
    for (name, value) in given {
        saved.insert((*name).to_owned(), (*value).into());
    }
    Ok((json::text(&config).into_bytes(), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_properties_change() {
        let config = br#"{"linux": {"intelRdt": {"closID": "a", "memBwSchema": "MB:0=5"}}}"#;
        let (text, lines) = schemas(config, &[("l3CacheSchema", "L3:0=f")]).unwrap();
        assert_eq!(lines, ["L3:0=f"]);
        let changed: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            changed["linux"]["intelRdt"],
            serde_json::json!({"closID": "a", "memBwSchema": "MB:0=5", "l3CacheSchema": "L3:0=f"})
        );
    }

    #[test]
    fn errors_name_the_property() {
        let text = |config: &[u8], value| {
            let changed = schemas(config, &[("memBwSchema", value)]);
            changed.unwrap_err().to_string()
        };
        assert!(text(b"{}", "MB:0=5").starts_with("linux.intelRdt: missing"));
        let config = br#"{"linux": {"intelRdt": {}}}"#;
        assert!(text(config, "x").starts_with("linux.intelRdt.memBwSchema: "));
    }
}
