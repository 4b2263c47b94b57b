//! Collects everything that the config's check and the planning refuse.
//!
//! Both end at the first error, and there is no second check beside them. So what an error names is
//! taken out of the config, and the rest is tried again, until nothing is refused any more.

use std::path::Path;

use super::finding::{Finding, Severity};
use super::tree::{Taken, Tree};
use crate::config::Config;
use crate::error::{Code, Error, Result, Warning};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::spec;

/// How often the config is tried: more errors than a reader wants to see at once.
const TRIES: usize = 200;

/// What is left of a config whose wrong properties have been taken.
pub(super) struct Accepted {
    pub config: Config,
    /// `None` if the host is not known.
    pub plan: Option<Plan>,
    /// `None` if nothing was taken.
    tree: Option<Tree>,
}

impl Accepted {
    /// The path of a property in the config as the user has written it.
    pub(super) fn written(&self, field: &str) -> String {
        match &self.tree {
            Some(tree) => tree.written(field),
            None => field.to_owned(),
        }
    }
}

/// Reads the config in `text`, and adds what is wrong with it to `findings`. `None` if nothing can
/// be done with the rest.
pub(super) fn pass(
    text: &[u8],
    bundle: &Path,
    host: Option<&Host>,
    options: &plan::Options,
    findings: &mut Vec<Finding>,
) -> Option<Accepted> {
    let attempt = |text: &[u8]| -> Result<Accepted> {
        let config = spec::config(text, bundle)?;
        let plan = host.map(|host| plan::build(&config, host, options));
        let plan = plan.transpose()?;
        Ok(Accepted {
            config,
            plan,
            tree: None,
        })
    };
    let mut error = match attempt(text) {
        Ok(accepted) => return told(accepted, text, findings),
        Err(error) => error,
    };
    let standard = spec::tree(spec::default_config(None).as_bytes()).unwrap_or_default();
    let mut tree = match spec::tree(text) {
        Some(tree) => Tree::new(tree, standard),
        None => return stopped(error, findings),
    };
    for _ in 0..TRIES {
        let Some(field) = error.field.as_deref().map(str::to_owned) else {
            return stopped(error, findings);
        };
        let lacks_namespace = error.code() == Code::ConfigNamespaceMissing;
        match tree.take(&field, lacks_namespace) {
            Taken::Away(written) => findings.push(Finding::error(error.about(written))),
            Taken::Consequence => {}
            Taken::Nothing(written) => return stopped(error.about(written), findings),
        }
        error = match attempt(&tree.text()) {
            Ok(accepted) => {
                let tree = Some(tree);
                return told(Accepted { tree, ..accepted }, text, findings);
            }
            Err(error) => error,
        };
    }
    stopped(error, findings)
}

fn stopped(error: Error, findings: &mut Vec<Finding>) -> Option<Accepted> {
    findings.push(Finding::error(error));
    let rest = "the rest of the config was not checked";
    findings.push(Finding::new(Severity::Note, rest).remedy("correct this first"));
    None
}

/// Adds what the config and the plan say that is not an error.
fn told(accepted: Accepted, text: &[u8], findings: &mut Vec<Finding>) -> Option<Accepted> {
    let (warnings, details) = match &accepted.plan {
        Some(plan) => (&plan.warnings, &plan.details[..]),
        None => (&accepted.config.warnings, &[][..]),
    };
    let mut tell = |severity, warning: &Warning| {
        let mut finding = Finding::of(severity, warning.clone());
        finding.field = finding.field.map(|field| accepted.written(&field));
        findings.push(finding);
    };
    for warning in warnings {
        tell(Severity::Warning, warning);
    }
    for detail in details {
        tell(Severity::Note, detail);
    }
    let ignored = spec::properties::ignored(text, "").into_iter();
    findings.extend(ignored.map(|it| Finding::of(Severity::Warning, it)));
    Some(accepted)
}
