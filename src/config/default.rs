//! The config that `sampan spec` writes.

/// The lines of the config. The first column marks when a line is used: `-` for root, `+` for an
/// unprivileged caller, a blank for both.
const TEMPLATE: &str = include_str!("default.template");

/// `config.json` for a first container, indented with tabs, with a line end.
///
/// `rootless` holds the effective user and group id of an unprivileged caller. These ids become
/// root in a user namespace. The config then leaves out everything that such a caller cannot have:
/// the network namespace, resource limits, a new sysfs, group ownership of terminals.
pub fn default_config(rootless: Option<(u32, u32)>) -> String {
    let (uid, gid) = rootless.unwrap_or_default();
    let skipped = if rootless.is_some() { '-' } else { '+' };
    let mut config = String::with_capacity(TEMPLATE.len());
    for line in TEMPLATE.lines() {
        if let Some(text) = line.get(1..).filter(|_| !line.starts_with(skipped)) {
            config.push_str(text);
            config.push('\n');
        }
    }
    config
        .replace("VERSION", super::SPEC_VERSION)
        .replace("UID", &uid.to_string())
        .replace("GID", &gid.to_string())
}
