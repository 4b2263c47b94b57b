//! Every plan has the form that `docs/plan.schema.json` describes, and the schema has no step that
//! no plan can have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::case::Case;

const SCHEMA: &str = include_str!("../../docs/plan.schema.json");
const SOURCES: [&str; 4] = [
    include_str!("../../src/plan/step/entry.rs"),
    include_str!("../../src/plan/step/inherited.rs"),
    include_str!("../../src/plan/step/init.rs"),
    include_str!("../../src/plan/step/runtime.rs"),
];

/// Where `value` differs from `schema`: the keywords that the schema uses, and no others.
fn difference(schema: &Value, value: &Value, at: &str) -> Option<String> {
    for (keyword, wanted) in schema.as_object()? {
        let fits = match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" => true,
            "const" => value == wanted,
            "enum" => wanted.as_array()?.contains(value),
            "type" => match wanted.as_str()? {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                other => panic!("unknown type {other}"),
            },
            "required" => {
                let mut names = wanted.as_array()?.iter();
                names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                let known = &schema["properties"];
                let mut names = value.as_object().into_iter().flat_map(|it| it.keys());
                wanted == true || names.all(|name| known.get(name).is_some())
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    let inner = difference(&wanted[name], member, &format!("{at}.{name}"));
                    if inner.is_some() {
                        return inner;
                    }
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    let inner = difference(wanted, item, &format!("{at}[{index}]"));
                    if inner.is_some() {
                        return inner;
                    }
                }
                true
            }
            other => panic!("unknown keyword {other}"),
        };
        if !fits {
            return Some(format!("{at}: {value} is not {keyword} {wanted}"));
        }
    }
    None
}

#[test]
fn every_plan_has_the_form_of_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut plans = 0;
    for case in Case::all() {
        if let Ok(plan) = case.plan() {
            assert_eq!(difference(&schema, &plan.json(), &case.name), None);
            plans += 1;
        }
    }
    assert!(plans > 60, "{plans}");
}

#[test]
fn another_form_is_refused() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let plan = Case::all()
        .iter()
        .find_map(|case| case.plan().ok())
        .unwrap();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut form = plan.json();
        change(&mut form);
        difference(&schema, &form, "plan").is_some()
    };
    assert!(!change(&|_| {}));
    assert!(change(&|form| form["version"] = 2.into()));
    assert!(change(&|form| form["steps"][0]["step"] = "nothing".into()));
    assert!(change(&|form| form["steps"][0]["more"] = 1.into()));
    assert!(change(&|form| form["clone"] = Value::Null));
    assert!(change(&|form| drop(
        form.as_object_mut().unwrap().remove("warnings")
    )));
}

#[test]
fn the_schema_has_the_steps_of_the_code() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let list = &schema["properties"]["steps"]["items"]["properties"]["step"]["enum"];
    let known = list.as_array().unwrap().iter();
    let known: BTreeSet<_> = known.map(|name| name.as_str().unwrap()).collect();
    let mut named = BTreeSet::new();
    for source in SOURCES {
        let start = source.find("pub const fn name(&self)").unwrap();
        let body = &source[start..];
        let body = &body[..body.find("\n    }\n").unwrap()];
        named.extend(
            body.split("=> \"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap()),
        );
    }
    assert_eq!(known, named);
}
