//! A config as a tree of JSON values, from which wrong properties are taken one after another.
//!
//! The indices of an array change when an element is taken. So the tree knows what it has lost, and
//! gives each place its path in the config that the user has written.

use serde_json::Value;

use crate::json;
use crate::spec;

/// The tree, and what it has lost.
pub(super) struct Tree {
    value: Value,
    /// What stands in for a property that must exist.
    standard: Value,
    /// The paths of what was taken, in the config as written.
    taken: Vec<String>,
    /// The arrays that have lost elements, and the elements' indices, in the config as written.
    lost: Vec<(String, usize)>,
}

/// A step down.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where a path leads.
struct Place<'f> {
    steps: Vec<Step>,
    /// The path in the config as written.
    written: String,
    /// The end of the path, if the tree has no such property.
    missing: &'f str,
}

/// What became of a property.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Taken {
    /// It is gone; its path in the config as written.
    Away(String),
    /// Its error is only due to something that was taken before.
    Consequence,
    /// Nothing can be taken.
    Nothing(String),
}

impl Tree {
    /// `standard` is a complete config.
    pub(super) fn new(value: Value, mut standard: Value) -> Self {
        let map = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        if let Some(linux) = standard["linux"].as_object_mut() {
            linux.insert("uidMappings".into(), map.clone());
            linux.insert("gidMappings".into(), map);
        }
        Self {
            value,
            standard,
            taken: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(super) fn text(&self) -> Vec<u8> {
        json::text(&self.value).into_bytes()
    }

    /// The path in the config as written.
    pub(super) fn written(&self, field: &str) -> String {
        let place = self.find(field);
        place.written + place.missing
    }

    /// Takes the property `field`, or what makes it wrong: it may be that it lacks a namespace. A
    /// property that must exist gets its value of the standard config.
    pub(super) fn take(&mut self, field: &str, lacks_namespace: bool) -> Taken {
        let place = self.find(field);
        let path = format!("{}{}", place.written, place.missing);
        let steps = place.steps.clone();
        let missing = place.missing.to_owned();
        let follows = self.follows(&path, &steps, lacks_namespace);
        let done = if missing.is_empty() {
            self.remove(&steps, path.clone())
        } else {
            self.fill(steps, &missing, &path)
        };
        match (done, follows) {
            (false, _) => Taken::Nothing(path),
            (true, true) => Taken::Consequence,
            (true, false) => Taken::Away(path),
        }
    }

    /// Whether an error is due to what was taken: the property itself, one within it, an array that
    /// has become empty, or a namespace that is needed.
    fn follows(&self, path: &str, steps: &[Step], lacks_namespace: bool) -> bool {
        let within = |path: &str, of: &str| {
            let rest = path.strip_prefix(of);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_empty = || match self.at(steps) {
            Some(Value::Array(list)) => list.is_empty(),
            _ => false,
        };
        self.taken.iter().any(|taken| {
            within(path, taken)
                || (within(taken, path) && is_empty())
                || (within(taken, "linux.namespaces") && lacks_namespace)
        })
    }

    fn at(&self, steps: &[Step]) -> Option<&Value> {
        let mut at = &self.value;
        for step in steps {
            at = match step {
                Step::Key(key) => at.get(key)?,
                Step::Index(index) => at.get(index)?,
            };
        }
        Some(at)
    }

    fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Value> {
        let mut at = &mut self.value;
        for step in steps {
            at = match step {
                Step::Key(key) => at.get_mut(key)?,
                Step::Index(index) => at.get_mut(index)?,
            };
        }
        Some(at)
    }

    /// The index in the config as written of an element of the array with this path there.
    fn written_index(&self, array: &str, index: usize) -> usize {
        let is_lost = |at: &usize| self.lost.iter().any(|(of, lost)| of == array && lost == at);
        let mut kept = (0..).filter(|at| !is_lost(at));
        kept.nth(index).unwrap_or(index)
    }

    /// Follows a path as far as the tree has it.
    fn find<'f>(&self, field: &'f str) -> Place<'f> {
        let mut place = Place {
            steps: Vec::new(),
            written: String::new(),
            missing: field,
        };
        let mut at = &self.value;
        while let Some((step, written, rest)) = self.step(at, &place) {
            let next = match &step {
                Step::Key(key) => at.get(key),
                Step::Index(index) => at.get(index),
            };
            let Some(next) = next else { break };
            at = next;
            place.steps.push(step);
            place.written += &written;
            place.missing = rest;
        }
        place
    }

    /// The next step of a path, its text in the config as written, and the rest of the path.
    fn step<'f>(&self, at: &Value, place: &Place<'f>) -> Option<(Step, String, &'f str)> {
        let rest = place.missing;
        match at {
            Value::Array(_) => {
                let (index, rest) = rest.strip_prefix('[')?.split_once(']')?;
                let index = index.parse().ok()?;
                let written = self.written_index(&place.written, index);
                Some((Step::Index(index), format!("[{written}]"), rest))
            }
            Value::Object(members) => {
                let forms = members.keys().flat_map(|key| {
                    let dot = if place.steps.is_empty() { "" } else { "." };
                    [format!("{dot}{key}"), format!("[{key:?}]")].map(|form| (key, form))
                });
                let fits = |form: &str| {
                    let rest = rest.strip_prefix(form)?;
                    let ends = rest.is_empty() || rest.starts_with(['.', '[', ':']);
                    ends.then_some(rest)
                };
                let fitting = forms.filter_map(|(key, form)| {
                    fits(&form).map(|rest| (Step::Key(key.clone()), form, rest))
                });
                // Keys may have dots.
                fitting.max_by_key(|(_, form, _)| form.len())
            }
            _ => None,
        }
    }

    fn remove(&mut self, steps: &[Step], path: String) -> bool {
        let Some((last, above)) = steps.split_last() else {
            return false;
        };
        match (self.at_mut(above), last) {
            (Some(Value::Object(members)), Step::Key(key)) => {
                spec::remove(members, key);
            }
            (Some(Value::Array(list)), Step::Index(index)) if *index < list.len() => {
                list.remove(*index);
                if let Some((array, index)) = path
                    .strip_suffix(']')
                    .and_then(|path| path.rsplit_once('['))
                    && let Ok(index) = index.parse()
                {
                    self.lost.push((array.to_owned(), index));
                }
            }
            _ => return false,
        }
        self.taken.push(path);
        true
    }

    /// Gives a missing property its standard value, once. Otherwise what lacks it is taken.
    fn fill(&mut self, steps: Vec<Step>, missing: &str, path: &str) -> bool {
        let name = missing.trim_start_matches('.');
        let again = format!("{path} again");
        let mut standard = &self.standard;
        for step in &steps {
            standard = match step {
                Step::Key(key) => &standard[key],
                Step::Index(_) => &Value::Null,
            };
        }
        if let Some(value) = standard.get(name).cloned()
            && !self.taken.contains(&again)
            && let Some(Value::Object(members)) = self.at_mut(&steps)
        {
            members.insert(name.to_owned(), value);
            self.taken.extend([path.to_owned(), again]);
            return true;
        }
        let above = path.strip_suffix(missing).unwrap_or(path).to_owned();
        self.remove(&steps, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tree(value: Value) -> Tree {
        Tree::new(value, json!({"process": {"cwd": "/"}, "linux": {}}))
    }

    #[test]
    fn indices_are_those_of_the_config_as_written() {
        let mut tree = tree(json!({"mounts": [0, 1, 2, 3]}));
        for (field, written) in [
            ("mounts[1]", "mounts[1]"),
            ("mounts[1]", "mounts[2]"),
            ("mounts[0]", "mounts[0]"),
            ("mounts[0]", "mounts[3]"),
        ] {
            assert_eq!(tree.written(field), written);
            assert_eq!(tree.take(field, false), Taken::Away(written.to_owned()));
        }
        assert_eq!(tree.text(), br#"{"mounts":[]}"#);
    }

    #[test]
    fn keys_may_have_dots_and_quotes() {
        let mut tree = tree(json!({"linux": {"sysctl": {"net.a": 1, "net.a.b": 2}},
            "annotations": {"a\"b": 3}}));
        for field in [
            "linux.sysctl.net.a.b",
            "annotations[\"a\\\"b\"]",
            "linux.sysctl[\"net.a\"]",
        ] {
            assert_eq!(tree.take(field, false), Taken::Away(field.to_owned()));
        }
        assert_eq!(tree.text(), br#"{"annotations":{},"linux":{"sysctl":{}}}"#);
    }

    #[test]
    fn what_must_exist_gets_a_standard_value_once() {
        let mut tree = tree(json!({"process": {"cwd": "x"}}));
        assert_eq!(
            tree.take("process.cwd", false),
            Taken::Away("process.cwd".into())
        );
        assert_eq!(tree.take("process.cwd", false), Taken::Consequence);
        assert_eq!(tree.text(), br#"{"process":{"cwd":"/"}}"#);
    }

    #[test]
    fn an_element_without_its_property_is_taken() {
        let mut tree =
            tree(json!({"linux": {"devices": [{"path": "/a"}, {"path": "/b", "type": 3}]}}));
        let field = "linux.devices[0].type";
        assert_eq!(tree.take(field, false), Taken::Away(field.into()));
        let second = "linux.devices[1].type";
        assert_eq!(tree.take(field, false), Taken::Away(second.into()));
        assert_eq!(tree.take(field, false), Taken::Consequence);
        assert_eq!(tree.text(), br#"{"linux":{"devices":[]}}"#);
    }

    #[test]
    fn without_a_path_nothing_is_taken() {
        assert_eq!(
            tree(json!({})).take("vm", false),
            Taken::Nothing("vm".into())
        );
    }
}
