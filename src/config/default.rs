//! The config that `sampan spec` writes.

/// The lines of the config behind a mark: `-` for those of root, `+` for those of a caller without
/// privileges, a blank for everybody's.
const TEMPLATE: &str = include_str!("default.template");

/// `config.json` for a first container, indented with tabs, with a line end.
///
/// `rootless` holds the effective user and group id of a caller without privileges: they become
/// root of a user namespace, and what such a caller cannot have is left out (the network
/// namespace, resource limits, a fresh sysfs, group ownership of terminals).
pub fn default_config(rootless: Option<(u32, u32)>) -> String {
    let (uid, gid) = rootless.unwrap_or_default();
    let foreign = if rootless.is_some() { '-' } else { '+' };
    let mut config = String::with_capacity(TEMPLATE.len());
    for line in TEMPLATE.lines() {
        if let Some(text) = line.get(1..).filter(|_| !line.starts_with(foreign)) {
            config.push_str(text);
            config.push('\n');
        }
    }
    config
        .replace("VERSION", super::SPEC_VERSION)
        .replace("UID", &uid.to_string())
        .replace("GID", &gid.to_string())
}
